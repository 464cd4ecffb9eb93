"""How the student of a run begins: with which tokens and which parts of its teacher.

Both are chosen by the run's own text, before the first step. A run that goes on has them in its
checkpoint, or finds the same again.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.data import DataConfig
from tf_distilbert.console.lines import say
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import masked_lm_dataset
from tf_distilbert.data.records import Records
from tf_distilbert.distillation.layer_search import Trial
from tf_distilbert.distillation.pair import can_predict
from tf_distilbert.distillation.student import StudentStart, Teacher
from tf_distilbert.distillation.trimming import check_how_many, trim_model
from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.model_files.keras_nlp_models import named_values
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.runs.directory import SEARCH_FILE
from tf_distilbert.runs.job import Job
from tf_distilbert.runs.records import load_or_choose_tokens
from tf_distilbert.training.strategy import (
    Strategy,
    chief_first,
    is_chief,
    num_workers,
    sum_over_workers,
)

# The sample: about a thousand sequences are enough to rank parts by (Minitron), and of long ones
# fewer.
_SEQUENCES, _TOKENS, _AT_ONCE = 1024, 2**17, 16

_FIGURES = ("agreement", "cosine_loss")


def with_trimmed_vocabulary(
    teacher: Teacher, student: EncoderModel, size: int, job: Job, data: DataConfig
) -> tuple[EncoderModel, EncoderModel]:
    """Cut a pair's vocabulary to the commonest tokens of the run's text.

    The teacher's predictions over these tokens stay what they were.

    Args:
        teacher: of `load_model`.
        student: with the teacher's vocabulary.
        size: how many tokens are kept.
        job: whose text it is.
        data: the text.

    Returns:
        Teacher and student.

    Raises:
        UserError: the size does not fit the vocabulary; the text is at fault; or the teacher is
            keras-nlp's.
    """
    if not isinstance(teacher, EncoderModel) or teacher.tokenizer is None:
        raise UserError(
            "student.vocabulary: a keras-nlp preset's vocabulary cannot be cut; leave "
            "student.vocabulary out, or give another teacher"
        )
    tokenizer = teacher.tokenizer
    try:
        check_how_many(tokenizer, size, None)  # before the text is read
    except UserError as error:
        raise UserError(f"student.vocabulary: {error}") from None
    kept = chief_first(
        job.strategy, lambda: load_or_choose_tokens(data, tokenizer, job.run.data, size)
    )
    say(job.console, f"{size:,} of {len(tokenizer.vocabulary):,} tokens are kept")
    return trim_model(teacher, kept), trim_model(student, kept)


def start_student(
    teacher: Teacher, student: EncoderModel, start: StudentStart, records: Records, job: Job
) -> None:
    """Give a student its first weights, and say which layers they come from if that was searched.

    Args:
        teacher, student, start: see `make_student`.
        records: what the run trains on.
        job: whose run it is; the maps that were tried are written there.

    Raises:
        UserError: the run cannot be written, or several workers have chosen differently.
    """
    sample = None
    if start.needs_sample:
        say(job.console, "choosing what the student starts from")
        sample = _sample(records, job.config.train.seed, can_predict(teacher))
    with job.strategy.scope():
        trials = start.apply(teacher, student, sample)
    if start.needs_sample and num_workers(job.strategy) > 1:
        _check_same(student, job.strategy)
    if trials:
        say(job.console, _describe(trials, start.layers))
        if is_chief(job.strategy):
            content = json.dumps({"tried": [asdict(trial) for trial in trials]}, indent=2)
            write_atomically(job.run.path / SEARCH_FILE, content.encode())


def tried_layer_maps(run: Path) -> list[Trial]:
    """Read which maps of layers a run tried, the best first; none if it did not search.

    Args:
        run: the run directory.

    Raises:
        UserError: the file is broken.
    """
    path = run / SEARCH_FILE
    if not path.exists():
        return []
    try:
        return [
            Trial(tuple(map(int, each["layers"])), *(_number(each[name]) for name in _FIGURES))
            for each in read_json(path)["tried"]
        ]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: is not what a search of layers writes; remove it") from None


def _number(value: Any) -> Any:
    """Read a figure; there is no agreement of models that predict no words."""
    return None if value is None else float(value)


def _sample(records: Records, seed: int, hides_words: bool) -> Any:
    sequences = max(1, min(_SEQUENCES, _TOKENS // records.sequence_length, len(records)))
    size = min(_AT_ONCE, sequences)
    masker = TokenMasker.for_records(records, seed=seed, **({} if hides_words else {"rate": 0.0}))
    batches = masked_lm_dataset(records, masker, size, seed=seed, num_steps=sequences // size)
    return batches.as_numpy_iterator()


def _check_same(student: EncoderModel, strategy: Strategy) -> None:
    """See that all workers have the same student, which each has started by itself."""
    digest = hashlib.sha256()
    for value in named_values(student).values():
        digest.update(value.tobytes())
    number = int.from_bytes(digest.digest()[:2])
    # The sum is of parts, each rounded.
    if abs(sum_over_workers(strategy, number) - number * num_workers(strategy)) > 0.5:
        raise UserError(
            "the workers round differently, and have chosen different parts of the teacher; start "
            "the run on one of them (train.strategy=one) until its first checkpoint, then go on "
            "with all and --resume"
        )


def _describe(trials: list[Trial], first: tuple[int, ...]) -> str:
    best = trials[0]
    line = f"starts from the teacher's layers {_listed(best.layers)}: {_figures(best)}"
    others = [trial for trial in trials if trial.layers == first != best.layers]
    if others:
        line += f"; the even choice, {_listed(first)}: {_figures(others[0])}"
    return f"{line}; {len(trials)} choices tried"


def _listed(layers: tuple[int, ...]) -> str:
    return ", ".join(map(str, layers))


def _figures(trial: Trial) -> str:
    agreement = ""
    if trial.agreement is not None:
        agreement = f"{100 * trial.agreement:.1f} % same answers, "
    return f"{agreement}cosine loss {trial.cosine_loss:.3f}"
