"""Metrics of token classification, on the labels' names."""

from collections.abc import Sequence

Sentences = Sequence[Sequence[str]]
Entity = tuple[str, int, int]


def token_accuracy(predicted: Sentences, labels: Sentences) -> float:
    """Give the fraction of all words whose label is predicted; 0 if there is no word.

    Args:
        predicted: for each sentence a label a word.
        labels: as many.
    """
    pairs = list(_pairs(predicted, labels))
    return sum(found == wanted for found, wanted in pairs) / len(pairs) if pairs else 0.0


def entity_f1(predicted: Sentences, labels: Sentences) -> float:
    """Give the F1 of entities: of the predicted ones and the true ones, those that are both.

    Where all labels are ``O``, ``B-TYPE`` or ``I-TYPE`` (BIO) an entity is a stretch of words of
    a type, as `entities` finds it, and right only if type, first and last word are. Other labels
    (parts of speech) are not of stretches: each word that is not ``O`` is by itself, which
    without any ``O`` is the accuracy. 0 if there is no entity.

    Args:
        predicted: for each sentence a label a word.
        labels: as many.
    """
    if not is_bio({label for sentences in (predicted, labels) for s in sentences for label in s}):
        pairs = list(_pairs(predicted, labels))
        right = sum(found == wanted != "O" for found, wanted in pairs)
        total = sum((found != "O") + (wanted != "O") for found, wanted in pairs)
        return 2 * right / total if total else 0.0
    right = total = 0
    for found, wanted in zip(predicted, labels, strict=True):
        found_entities, wanted_entities = set(entities(found)), set(entities(wanted))
        right += len(found_entities & wanted_entities)
        total += len(found_entities) + len(wanted_entities)
    return 2 * right / total if total else 0.0


def is_bio(labels: set[str]) -> bool:
    """Whether labels are all of the form that `entities` reads."""
    return all(label in ("O", "B", "I") or label[:2] in ("B-", "I-") for label in labels)


def entities(labels: Sequence[str]) -> list[Entity]:
    """Give the entities of a sentence: type, first word, word after the last one.

    One begins with every ``B-``, and with an ``I-`` that follows ``O`` or another type: so CoNLL's
    own script has it, and seqeval unless it is told to be strict.

    Example:
        >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
        [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    found: list[Entity] = []
    start, kind = 0, None
    for place, label in enumerate([*labels, "O"]):
        prefix, _, name = label.partition("-")
        goes_on = prefix == "I" and name == kind
        if kind is not None and not goes_on:
            found.append((kind, start, place))
        if not goes_on:
            start, kind = place, None if label == "O" else name
    return found


def _pairs(predicted: Sentences, labels: Sentences) -> list[tuple[str, str]]:
    return [
        pair
        for found, wanted in zip(predicted, labels, strict=True)
        for pair in zip(found, wanted, strict=True)
    ]
