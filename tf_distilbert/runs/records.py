"""The prepared records of a run, and a new model's vocabulary, made of text where need be."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.data import DataConfig
from tf_distilbert.data.output_folder import ProgressReport
from tf_distilbert.data.prepare import prepare
from tf_distilbert.data.records import MANIFEST, Records
from tf_distilbert.data.text import fingerprint
from tf_distilbert.data.token_counts import count_tokens
from tf_distilbert.data.vocabulary import learn_vocabulary
from tf_distilbert.distillation.trimming import kept_tokens
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.json_file import read_json
from tf_distilbert.tokenization.tokenizer import Tokenizer
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


def load_records(
    config: DataConfig, tokenizer: Tokenizer, folder: Path, *, progress: bool = True
) -> tuple[Records, Records | None]:
    """Open or prepare the records to train on, and those to validate on, if any.

    Args:
        config: where the text or the records are.
        tokenizer: the model's; prepared records must have been made with it.
        folder: where records are prepared, each under a name that tells what it is made of; those
            of a run beside this one are taken where they are of the same text.
        progress: whether to show that, and to warn of text that the tokenizer hardly knows.

    Raises:
        UserError: text or records are at fault, or are not the model's.
    """
    made = (config, tokenizer, folder, progress)
    train = _open_or_prepare("train", config.text, config.records, *made)
    if config.validation_share:
        return train.split(config.validation_share)
    if not (config.validation or config.validation_records):
        return train, None
    return train, _open_or_prepare(
        "validation", config.validation, config.validation_records, *made
    )


def find_records(
    config: DataConfig, tokenizer: Tokenizer, folder: Path
) -> tuple[Records | None, Records | None]:
    """Open what `load_records` opened or prepared for a run, without preparing anything.

    Args:
        config, tokenizer, folder: as `load_records` has them.

    Returns:
        The records trained on, and those validated on. None for what never was, is no longer there,
        or is broken, and for what was made of text that is gone or has changed.
    """

    def find(name: str, text: list[str], records: str | None) -> Records | None:
        try:
            path = records or _prepared(name, text, config, tokenizer, folder)
            return Records.open(path, "skip")
        except (UserError, OSError):
            return None

    train = find("train", config.text, config.records)
    if config.validation_share:
        return train.split(config.validation_share) if train else (None, None)
    if not (config.validation or config.validation_records):
        return train, None
    return train, find("validation", config.validation, config.validation_records)


def _prepared(
    name: str, text: list[str], config: DataConfig, tokenizer: Tokenizer, folder: Path
) -> Path:
    """Tell where the records of a text are prepared, or were: maybe for a run beside this one."""
    facts: list[str | int] = [tokenizer.sha256, config.sequence_length, config.invalid_utf8]
    if config.rows != "blocks":  # which the names of earlier versions' records do not say
        facts.append(config.rows)
    digest = _digest(text, *facts)
    own = folder / f"{name}-{digest}"
    if not (own / MANIFEST).exists():
        for path in sorted(folder.parent.glob(f"*-data/{own.name}/{MANIFEST}")):
            return path.parent
    return own


def _open_or_prepare(
    name: str,
    text: list[str],
    records_path: str | None,
    config: DataConfig,
    tokenizer: Tokenizer,
    folder: Path,
    progress: bool,
) -> Records:
    if records_path is None:
        return prepare(
            text,
            tokenizer,
            _prepared(name, text, config, tokenizer, folder),
            sequence_length=config.sequence_length,
            workers=config.workers,
            invalid_utf8=config.invalid_utf8,
            rows=config.rows,
            progress=progress,
            on_corrupt=config.on_corrupt,
        )
    records = Records.open(records_path, config.on_corrupt)
    if records.tokenizer_sha256 != tokenizer.sha256:
        raise UserError(
            f"{records_path}: was made with another tokenizer than the model's; "
            "prepare the text again with the model's"
        )
    if records.sequence_length != config.sequence_length:
        raise UserError(
            f"{records_path}: has sequences of {records.sequence_length} tokens, "
            f"data.sequence_length is {config.sequence_length}; make them equal"
        )
    if records.rows != config.rows:
        raise UserError(
            f"{records_path}: has {records.rows} for rows, data.rows is {config.rows}; make them "
            f"equal, or prepare the text with --rows {config.rows}"
        )
    ProgressReport(progress, [], with_bar=False).warn_of(records)
    return records


def load_or_learn_vocabulary(config: DataConfig, folder: Path) -> WordPieceTokenizer:
    """Make a new model's tokenizer: from its ``vocab.txt``, or from one learnt from the text.

    Raises:
        UserError: the file, the size or the text is at fault.
    """
    if isinstance(config.vocabulary, str):
        return WordPieceTokenizer.from_file(config.vocabulary, config.lower_case)
    assert config.vocabulary is not None  # `PretrainConfig` asks for it
    digest = _digest(config.text, config.vocabulary, config.lower_case)
    path = folder / f"vocab-{digest}.txt"
    if not path.exists():
        with explain_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        learn_vocabulary(config.text, config.vocabulary, path, lower_case=config.lower_case)
    return WordPieceTokenizer.from_file(path, config.lower_case)


def load_or_choose_tokens(
    config: DataConfig, tokenizer: Tokenizer, folder: Path, size: int
) -> list[int]:
    """Choose the tokens of a tokenizer that a text needs; what was chosen is remembered.

    Args:
        config: where the text is.
        tokenizer: the teacher's.
        folder: where it is remembered.
        size: how many are kept.

    Returns:
        Their ids; see `kept_tokens`.

    Raises:
        UserError: the size or the text is at fault.
    """
    path = folder / f"tokens-{_digest(config.text, tokenizer.sha256, size)}.json"
    with suppress(UserError):  # missing, or broken: it can be made again
        kept = read_json(path).get("kept")
        if isinstance(kept, list) and len(kept) == size:
            return kept
    try:
        kept = kept_tokens(tokenizer, count_tokens(config.text, tokenizer), size=size)
    except UserError as error:
        raise UserError(f"student.vocabulary: {error}") from None
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"kept": kept}).encode())
    return kept


def _digest(text: list[str], *facts: str | int | bool) -> str:
    """Name what is made of a text: another text, or another way of making it, is another name."""
    everything = json.dumps([fingerprint(text), *facts])
    return hashlib.sha256(everything.encode()).hexdigest()[:10]
