"""A model folder with the vocabulary of a text: made, and what it costs measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.data.text import check_sources
from tf_distilbert.data.token_counts import Splitting, compare_splitting, count_tokens
from tf_distilbert.distillation.trimming import check_how_many, kept_tokens, trim_model
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.model_files.keras_nlp_presets import is_preset
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel

_LENGTH = 128
"""Tokens of a held-out sequence, or all positions if there are fewer."""


@dataclass(frozen=True)
class Trimming:
    """What a model was and what it has become: pairs of before and after.

    Attributes:
        tokens: of the vocabulary.
        parameters: of the model with its head.
        splitting: how the words of the text are cut by either tokenizer.
        held_out: metrics on held-out text, see `evaluate`; None where there is no such text.
    """

    tokens: tuple[int, int]
    parameters: tuple[int, int]
    splitting: Splitting
    held_out: tuple[dict[str, float], dict[str, float]] | None

    def as_text(self) -> str:
        """Write a table and what it means for the text, for a terminal."""
        splitting, (before, after) = self.splitting, self.parameters
        pieces = [number / splitting.words for number in splitting.pieces]
        rows = [
            ("", "before", "after"),
            ("tokens", *(f"{number:,}" for number in self.tokens)),
            ("parameters", f"{before:,}", f"{after:,}"),
            ("MB in float32", f"{before * 4e-6:,.1f}", f"{after * 4e-6:,.1f}"),
            ("pieces a word", *(f"{number:.3f}" for number in pieces)),
        ]
        for name, form in (("loss", ".4f"), ("accuracy", ".4f"), ("predictions", ",")):
            if self.held_out:
                rows.append(
                    (f"held-out {name}", *(f"{each[name]:{form}}" for each in self.held_out))
                )
        lines = [f"{name:22}{first:>16}{second:>16}" for name, first, second in rows]
        share = splitting.changed / splitting.words
        lines.append(
            f"{share:.2%} of the text's words ({splitting.changed:,} of {splitting.words:,}) are "
            "split further"
        )
        if lost := splitting.unknown[1] - splitting.unknown[0]:
            lines.append(
                f"warning: {lost:,} of them become unknown instead: no single characters spell them"
            )
        if self.held_out:
            lines.append(
                "the held-out text is cut into other sequences by the new tokenizer: other tokens "
                "are masked and predicted"
            )
        return "\n".join(lines)


def trim(
    path: str | Path,
    text: str | Sequence[str],
    output: str | Path,
    *,
    size: int | None = None,
    min_count: int | None = None,
    task: str | None = None,
    held_out: str | Sequence[str] | None = None,
    progress: bool = False,
) -> Trimming:
    """Write a model folder whose vocabulary is cut to what a text needs.

    Args:
        path: of a model, as `load_task_model` takes it, but for keras-nlp's presets.
        text: one or several sources; see `read_blocks`. It is read twice.
        output: the folder to write.
        size: how many tokens are kept; see `kept_tokens`.
        min_count: or how often a token must occur in the text to be kept.
        task: of the model's head, where its folder does not say.
        held_out: text on which a masked language model is measured before and after.
        progress: whether to show on a terminal what is under way.

    Raises:
        UserError: the model, a text or a number is at fault, the folder exists, or all words of the
            text would be unknown. Nothing is written then.
    """
    path, output = str(path), Path(output)
    if output.exists():
        raise UserError(f"{output}: exists already; choose another folder or remove it")
    if is_preset(path):
        raise UserError(f"{path}: a keras-nlp preset cannot be trimmed; give a Hugging Face folder")
    for sources in filter(None, (text, held_out)):
        check_sources([sources] if isinstance(sources, str) else sources)
    model = load_task_model(path, task)
    tokenizer = model.tokenizer
    assert isinstance(model, EncoderModel) and tokenizer is not None  # as in any folder
    if held_out and not isinstance(model, MaskedLanguageModel):
        raise UserError(
            f"held-out text is for a masked language model; the head of {path} is for "
            f"{model.task}: leave it out"
        )
    check_how_many(tokenizer, size, min_count)
    console = Console(stderr=True) if progress else None
    with TimeLeft(console, "counting tokens"):
        kept = kept_tokens(tokenizer, count_tokens(text, tokenizer), size, min_count)
    trimmed = trim_model(model, kept)
    assert trimmed.tokenizer is not None  # as it was given one
    with TimeLeft(console, "splitting words"):
        splitting = compare_splitting(text, tokenizer, trimmed.tokenizer)
    if splitting.unknown[1] == splitting.words:
        raise UserError(
            "all words of the text would be unknown: the vocabulary lacks their characters; keep "
            "more tokens"
        )
    report = Trimming(
        tokens=(len(tokenizer.vocabulary), len(kept)),
        parameters=(model.count_params(), trimmed.count_params()),
        splitting=splitting,
        held_out=(_measure(model, held_out, progress), _measure(trimmed, held_out, progress))
        if held_out
        else None,
    )
    save_model(trimmed, output)
    return report


def _measure(model: EncoderModel, text: str | Sequence[str], progress: bool) -> dict[str, float]:
    length = min(_LENGTH, model.architecture.max_positions)
    return evaluate(model, text, sequence_length=length, progress=progress)
