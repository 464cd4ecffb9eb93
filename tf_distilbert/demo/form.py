"""Which texts a task asks for, and how the page asks for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tf_distilbert.serving.served_model import ServedModel

HEADINGS = {
    "masked_lm": "Words for blanks",
    "sequence_classification": "Classes of texts",
    "token_classification": "Labels of words",
    "question_answering": "Answers from a text",
    "embedding": "Nearest texts",
}


_TEXTS = (
    "The train to the capital of France takes three hours.",
    "Bread needs flour, water, salt and time.",
    "Flights to Rome leave in the evening.",
    "The Louvre is closed on Tuesdays.",
)


@dataclass(frozen=True)
class Field:
    """A text to be filled in.

    Attributes:
        name: of the text in a request to a `Predictor`.
        label: above the box.
        hint: below that.
        example: what stands there at first; without one, the box may stay empty.
    """

    name: str
    label: str
    hint: str
    example: str = ""


def form_fields(served: ServedModel) -> tuple[Field, ...]:
    """Give the fields for a model's task."""
    if served.task == "masked_lm":
        mask = served.tokenizer.special_tokens.mask
        hint = f"Write {mask} where a word is wanted."
        return (Field("text", "Text", hint, f"Paris is the capital of {mask}."),)
    if served.task == "token_classification":
        return (Field("text", "Text", "Its words are labelled.", "Angela lives in Berlin."),)
    if served.task == "question_answering":
        context = "The Seine flows through Paris, the Spree through Berlin."
        return (
            Field("question", "Question", "What is wanted.", "Which river flows through Berlin?"),
            Field("context", "Context", "The text that holds the answer.", context),
        )
    if served.task == "embedding":
        texts = "\n".join(_TEXTS)
        return (
            Field("text", "Query", "What the texts are compared with.", "How do I get to Paris?"),
            Field("texts", "Texts", "One a line. The nearest ones come first.", texts),
        )
    second = "For models that read two texts. Else leave it empty."
    return (
        Field("text", "Text", "What is classified.", "A gripping film."),
        Field("text_pair", "Second text", second),
    )


def read_form(fields: Sequence[Field], texts: Sequence[str]) -> dict[str, str]:
    """Make a request of what was filled in."""
    filled = zip(fields, texts, strict=True)
    return {field.name: text for field, text in filled if field.example or text.strip()}
