"""The pipeline of `prepare` on Beam: its options checked, built and run.

::

    groups of sources ─> read blocks ─> reshuffle ─> encode ─> group by shard ─> write ─> list
"""

import contextlib
import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from tf_distilbert.data.beam_steps import Encode, Job, Read, Write, WriteList
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.tokenization.tokenizer import Tokenizer


def build_pipeline(job: Job, tokenizer: Tokenizer, arguments: Sequence[str]) -> beam.Pipeline:
    """Put the steps together.

    Args:
        job: what to do.
        tokenizer: cuts the text into ids.
        arguments: Beam's options as on a command line.

    Raises:
        UserError: Beam does not know an option, its value or the runner.
    """
    options = parse_options(arguments)
    try:
        pipeline = beam.Pipeline(options=options)
    except Exception as error:  # runners complain in many ways
        raise UserError(f"beam: {_last_line(error)}; check the options after `--`") from None
    listed = (
        pipeline
        | "Groups" >> beam.Create(list(enumerate(job.sources)))
        | "Read" >> beam.ParDo(Read(job))
        | "Spread" >> beam.Reshuffle()
        | "Encode" >> beam.ParDo(Encode(job, tokenizer))
        | "Group" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(Write(job))
        | "List" >> beam.combiners.ToList()
    )
    _ = listed | "WriteList" >> beam.ParDo(WriteList(job))
    return pipeline


def run(pipeline: beam.Pipeline, job: Job) -> None:
    """Run the pipeline and wait for its end.

    Raises:
        KeyboardInterrupt: after the steps have ended.
        UserError: of a step; or the pipeline failed otherwise.
    """
    with explain_write_errors(job.errors):
        job.errors.mkdir(parents=True)
    # In a thread, so that Ctrl-C does not hit a step: it would be logged as the step's failure.
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_run_to_end, pipeline)
        try:
            failure = waiting.result()
        except KeyboardInterrupt:
            (job.errors / "stopped.txt").touch()  # the steps end, and then the pipeline
            raise
    if messages := sorted(job.errors.glob("*.txt")):
        raise UserError(messages[0].read_text(encoding="utf-8"))
    if failure:
        raise UserError(f"beam: the pipeline failed ({failure}); its runner's log says more")


def _run_to_end(pipeline: beam.Pipeline) -> str | None:
    """Give what went wrong, if anything."""
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:  # whatever the runner makes of a worker's error
        return _last_line(error)
    return None if state in (None, PipelineState.DONE) else f"it ended as {state}"


def _last_line(error: Exception) -> str:
    """Give what a chain of tracebacks comes down to."""
    lines = str(error).strip().split("\n")
    return re.sub(r" \[while running '.*'\]$", "", lines[-1].strip() or type(error).__name__)


# What Beam's DirectRunner comes down to for this pipeline. By that name it would first try to
# download a runner in another language.
_DEFAULT_RUNNER = "FnApiRunner"


def parse_options(arguments: Sequence[str]) -> PipelineOptions:
    """Read Beam's options as on a command line.

    Raises:
        UserError: Beam does not know an option, or not its value.
    """

    def refuse_unknown(parser: Any) -> None:
        _, unknown = parser.parse_known_args(list(arguments))
        if unknown:
            raise UserError(f"beam: {unknown[0]} is none of its options; check what is after `--`")

    options = PipelineOptions(list(arguments))
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            options.get_all_options(add_extra_args_fn=refuse_unknown)
    except SystemExit as end:
        if not end.code:  # --help
            raise
        reason = stderr.getvalue().strip().rpartition("error: ")[2]
        raise UserError(f"beam: {reason}; check the options after `--`") from None
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or _DEFAULT_RUNNER
    return options
