"""The options of a Beam pipeline, checked. Beam itself passes over what it does not know."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from tf_distilbert.errors import UserError

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
