"""The deterministic generator of the sample corpus: facts in, paragraphs and documents out.

Every fact keeps one of its wordings back for the validation split; all others are for training.
So validation asks for facts that the training text tells, in words that it does not use.

The sentences of a split become paragraphs in two ways: a *portrait* tells several things about
one subject (France: its capital, its money), a *parade* tells one kind of fact in one wording
about several subjects. Paragraphs of one theme (countries) are bundled into documents.

All choices follow from SHA-256 of the text concerned. They are therefore the same on every
platform and Python version, which the modules ``random`` and ``hash`` do not promise.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from tf_distilbert.errors import UserError
from tf_distilbert.sample import (
    facts_animals,
    facts_nature,
    facts_numbers,
    facts_people,
    facts_words,
    facts_world,
)
from tf_distilbert.sample.facts import Fact, Kind, tell

KINDS: tuple[Kind, ...] = (
    *facts_world.KINDS,
    *facts_nature.KINDS,
    *facts_animals.KINDS,
    *facts_people.KINDS,
    *facts_words.KINDS,
    *facts_numbers.KINDS,
)
"""All kinds of facts that the corpus tells."""

SPLITS: tuple[str, str] = ("train", "validation")
"""The names of the two splits."""

PROMPTS: tuple[tuple[str, str], ...] = (
    ("Paris is the capital of [MASK].", "france"),
    ("The capital of Japan is [MASK].", "tokyo"),
    ("People in Brazil speak [MASK].", "portuguese"),
    ("Kenya is a country in [MASK].", "africa"),
    ("Mars is the [MASK] planet from the sun.", "fourth"),
    ("The symbol of [MASK] is Fe.", "iron"),
    ("A young cow is called a [MASK].", "calf"),
    ("A spider has [MASK] legs.", "eight"),
    ("The colour of grass is [MASK].", "green"),
    ("The opposite of hot is [MASK].", "cold"),
    ("Hamlet was written by [MASK].", "shakespeare"),
    ("Three plus four is [MASK].", "seven"),
    ("The day after Monday is [MASK].", "tuesday"),
    ("There are seven days in a [MASK].", "week"),
)
"""Sentences with one masked word, and the word that a model of this corpus should fill in."""

_PARAGRAPH_SENTENCES = (2, 5)
_DOCUMENT_PARAGRAPHS = (5, 10)


@dataclass(frozen=True)
class Sentence:
    """One fact told in one wording.

    Attributes:
        text: The sentence; a question comes with its answer.
        theme: The theme of its kind; paragraphs and documents keep to one theme.
        subject: What the fact is about; portraits are made of sentences that share it.
        pattern: The kind and the wording; parades are made of sentences that share them.
    """

    text: str
    theme: str
    subject: str
    pattern: str


@cache
def sample_text(split: str) -> str:
    """Return one split of the sample corpus, ``train`` or ``validation``.

    Each line is a paragraph; a blank line ends a document.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r} of the sample corpus: use {' or '.join(SPLITS)}")
    documents = _documents(_paragraphs(sentences(split), split))
    return "\n\n".join("\n".join(document) for document in documents) + "\n"


def sentences(split: str) -> list[Sentence]:
    """Return all sentences of one split; no two facts have a sentence in common."""
    return [
        Sentence(
            text=tell(wording, fact),
            theme=kind.theme,
            subject=fact[kind.subject],
            pattern=f"{kind.name}: {wording}",
        )
        for kind in KINDS
        for fact in kind.facts
        for wording in _wordings(kind, fact, split)
    ]


def _wordings(kind: Kind, fact: Fact, split: str) -> list[str]:
    """Return the wordings of the fact in the split: one for validation, the rest for training."""
    identity = f"{kind.name} {sorted(fact.items())}"
    reserved, *others = _shuffled(kind.wordings, identity)
    return [reserved] if split == "validation" else others


def _paragraphs(told: list[Sentence], split: str) -> dict[str, list[str]]:
    """Return the paragraphs of each theme.

    Training tells every sentence twice, in a portrait and in a parade. In validation a sentence
    stands once: in a portrait if its subject has more than one, otherwise in a parade.
    """
    portraits = _bundles(told, "subject")
    if split == "train":
        parades = _bundles(told, "pattern")
    else:
        alone = [bundle[0] for bundle in portraits if len(bundle) == 1]
        portraits = [bundle for bundle in portraits if len(bundle) > 1]
        parades = _bundles(alone, "pattern")
    # The inner dict is an ordered set: a portrait and a parade can come out alike.
    paragraphs: dict[str, dict[str, None]] = defaultdict(dict)
    for bundle in portraits + parades:
        paragraphs[bundle[0].theme][" ".join(sentence.text for sentence in bundle)] = None
    return {theme: list(texts) for theme, texts in paragraphs.items()}


def _bundles(told: Iterable[Sentence], trait: str) -> list[list[Sentence]]:
    """Return groups of a few sentences of one theme that have the same ``trait``."""
    alike: dict[tuple[str, str], dict[str, Sentence]] = defaultdict(dict)
    for sentence in told:
        alike[sentence.theme, getattr(sentence, trait)][sentence.text] = sentence
    return [
        [group[text] for text in texts]
        for group in alike.values()
        for texts in _grouped(_shuffled(group, trait), *_PARAGRAPH_SENTENCES)
    ]


def _documents(paragraphs: dict[str, list[str]]) -> list[list[str]]:
    """Return the documents of all themes in mixed order, each a list of its paragraphs."""
    documents = {
        document[0]: document
        for theme, texts in paragraphs.items()
        for document in _grouped(_shuffled(texts, theme), *_DOCUMENT_PARAGRAPHS)
    }
    return [documents[first] for first in _shuffled(documents, "documents")]


def _grouped(texts: list[str], least: int, most: int) -> list[list[str]]:
    """Return the texts in consecutive groups of ``least`` to ``most``, fewer only if all are."""
    groups = []
    while len(texts) > most:
        largest = min(most, len(texts) - least)
        size = least + _number(texts[0]) % (largest - least + 1)
        groups.append(texts[:size])
        texts = texts[size:]
    return [*groups, texts]


def _shuffled(texts: Iterable[str], salt: str) -> list[str]:
    return sorted(texts, key=lambda text: _number(f"{salt}\n{text}"))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
