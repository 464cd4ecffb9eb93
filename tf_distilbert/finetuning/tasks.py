"""What there is to know of each task: one table, and how a task is found in it."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tf_distilbert.errors import UserError

VECTOR_KINDS = ("similarity", "retrieval")
"""What is done by the cosines of a sentence encoder's vectors."""

NEGATIVE = "negative"
"""The column of a retrieval's pairs that may have a passage which is not relevant."""


@dataclass(frozen=True)
class Task:
    """A downstream task.

    Attributes:
        name: as the command line takes it.
        kind: ``classification``, ``regression``, ``token_classification``,
            ``question_answering`` or one of `VECTOR_KINDS`; decides on the head, the examples and
            the predictions.
        layout: whose files it is read from: ``glue``, ``squad``, ``imdb`` or the user's ``own``.
        labels: names of the classes in the order of their numbers, for GLUE and IMDb the names and
            the order of tensorflow-datasets. Empty for regressions and SQuAD, and for the user's
            own tasks until `with_labels` fills them.
        metrics: what `score` gives: GLUE's as fractions, SQuAD's in percent, as their own
            scripts do.
        main: those whose mean is the task's score, by which models are chosen: `main_score`.
        texts: columns of the texts, in the order in which a model reads them.
        label: column of the label.
        id: column of the index; where the file has none, rows are counted from 0.
        written_labels: how the official files write `labels`; empty where just so.
        features: the columns `texts` in tensorflow-datasets.
        builder: the data set's name there; empty: it is not there.
        folders: names that the task's folder may have beside those of other tasks.
        headless: columns of the labelled files, where these do not begin with their names.
        validation_splits: that scores are taken on.
        test_splits: without labels, but for IMDb, AX with its labels, and the user's own.
        submissions: names of the official submission's files, one for each test split.
        model_of: the task whose models this one evaluates; it has no training split itself.
    """

    name: str
    kind: str
    layout: str
    metrics: tuple[str, ...]
    main: tuple[str, ...]
    labels: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    label: str = "label"
    id: str = "index"
    written_labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    builder: str = ""
    folders: tuple[str, ...] = ()
    headless: tuple[str, ...] = ()
    validation_splits: tuple[str, ...] = ("validation",)
    test_splits: tuple[str, ...] = ("test",)
    submissions: tuple[str, ...] = ()
    model_of: str = ""

    @property
    def by_vectors(self) -> bool:
        """Whether sentence encoders do the task, without a head."""
        return self.kind in VECTOR_KINDS

    @property
    def has_numbers(self) -> bool:
        """Whether its labels are numbers, not classes."""
        return self.kind in ("regression", "similarity")

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits; IMDb's only held-out one serves twice."""
        train = () if self.model_of else ("train",)
        return tuple(dict.fromkeys((*train, *self.validation_splits, *self.test_splits)))

    def main_score(self, scores: Mapping[str, float]) -> float:
        """Give the one number of a task: the mean of its main metrics.

        Args:
            scores: of one split, from `score`.

        Example:
            >>> find_task("mrpc").main_score({"accuracy": 0.8, "f1": 0.9})
            0.85
        """
        return sum(scores[name] for name in self.main) / len(self.main)


_PAIR = ("sentence1", "sentence2")
_PREMISE = ("premise", "hypothesis")
_BINARY = ("0", "1")
_NLI = ("entailment", "neutral", "contradiction")
_TWO_WAY_NLI = ("entailment", "not_entailment")
_ACCURACY = ("accuracy",)
_ACCURACY_AND_F1 = ("accuracy", "f1")
_CORRELATIONS = ("pearson", "spearman")
_RANKING = ("ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100")
_ANSWERS = ("f1", "exact_match")


def _glue(
    name: str, folder: str, metrics: tuple[str, ...], texts: tuple[str, ...], **facts: Any
) -> Task:
    defaults = {
        "kind": "classification",
        "main": metrics,  # of two GLUE takes the mean
        "features": texts,
        "builder": f"glue/{name}",
        "folders": (folder,),
        "submissions": (f"{folder}.tsv",),
    }
    return Task(name, layout="glue", metrics=metrics, texts=texts, **defaults | facts)


def _squad(name: str, version: str, metrics: tuple[str, ...]) -> Task:
    return Task(
        name,
        "question_answering",
        "squad",
        metrics,
        main=("f1",),
        builder=f"squad/v{version}",
        folders=("squad", "SQuAD", f"squad-v{version}"),
        test_splits=(),
    )


def _own(
    name: str, kind: str, metrics: tuple[str, ...], texts: tuple[str, ...], **facts: Any
) -> Task:
    main = metrics if metrics == _CORRELATIONS else metrics[:1]
    return Task(name, kind, "own", metrics, main, texts=texts, id="", **facts)


TASKS = (
    _glue(
        "cola",
        "CoLA",
        ("matthews",),
        ("sentence",),
        labels=("unacceptable", "acceptable"),
        written_labels=_BINARY,
        headless=("source", "label", "mark", "sentence"),
    ),
    _glue(
        "sst2",
        "SST-2",
        _ACCURACY,
        ("sentence",),
        labels=("negative", "positive"),
        written_labels=_BINARY,
    ),
    _glue(
        "mrpc",
        "MRPC",
        _ACCURACY_AND_F1,
        ("#1 String", "#2 String"),
        features=_PAIR,
        label="Quality",
        labels=("not_equivalent", "equivalent"),
        written_labels=_BINARY,
    ),
    _glue("stsb", "STS-B", _CORRELATIONS, _PAIR, kind="regression", label="score"),
    _glue(
        "qqp",
        "QQP",
        _ACCURACY_AND_F1,
        ("question1", "question2"),
        label="is_duplicate",
        id="id",
        labels=("not_duplicate", "duplicate"),
        written_labels=_BINARY,
    ),
    _glue(
        "mnli",
        "MNLI",
        _ACCURACY,
        _PAIR,
        features=_PREMISE,
        label="gold_label",
        labels=_NLI,
        validation_splits=("validation_matched", "validation_mismatched"),
        test_splits=("test_matched", "test_mismatched"),
        submissions=("MNLI-m.tsv", "MNLI-mm.tsv"),
    ),
    _glue("qnli", "QNLI", _ACCURACY, ("question", "sentence"), labels=_TWO_WAY_NLI),
    _glue("rte", "RTE", _ACCURACY, _PAIR, labels=_TWO_WAY_NLI),
    _glue(
        "wnli",
        "WNLI",
        _ACCURACY,
        _PAIR,
        labels=("not_entailment", "entailment"),
        written_labels=_BINARY,
    ),
    _glue(
        "ax",
        "AX",
        ("matthews",),
        _PAIR,
        features=_PREMISE,
        labels=_NLI,
        folders=("diagnostic", "AX"),
        validation_splits=(),
        model_of="mnli",
    ),
    _squad("squad", "1.1", _ANSWERS),
    _squad(
        "squad-v2",
        "2.0",
        (
            *_ANSWERS,
            *(f"has_answer_{name}" for name in _ANSWERS),
            *(f"no_answer_{name}" for name in _ANSWERS),
            *("best_f1", "best_f1_threshold", "best_exact_match", "best_exact_match_threshold"),
        ),
    ),
    Task(
        "imdb",
        "classification",
        "imdb",
        _ACCURACY,
        main=_ACCURACY,
        labels=("negative", "positive"),
        written_labels=_BINARY,
        texts=("text",),
        features=("text",),
        id="id",
        builder="imdb_reviews",
        folders=("aclImdb", "imdb"),
        # There is no development split: the scores are of the test split, as in the papers.
        validation_splits=("test",),
    ),
    _own("classification", "classification", ("accuracy", "macro_f1"), ("text",)),
    _own("pair-classification", "classification", ("accuracy", "macro_f1"), ("text", "text_pair")),
    _own("regression", "regression", _CORRELATIONS, ("text",)),
    _own(
        "token-classification",
        "token_classification",
        ("f1", "accuracy"),
        ("words",),
        label="labels",
    ),
    _own("similarity", "similarity", _CORRELATIONS, ("text", "text_pair")),
    _own("retrieval", "retrieval", _RANKING, ("text", "text_pair"), label="", test_splits=()),
)


def find_task(name: str, columns: Mapping[str, str | None] | None = None, **named: str) -> Task:
    """Give the task of a name.

    Args:
        name: in any case, with or without hyphens: ``sst2``, ``SST-2``.
        columns: for the user's own tasks, which columns of the files to read: ``text``, ``label``
            and ``id``; ``text_pair`` of pairs and, if it is given, of regressions; ``negative``,
            if it is given, of a retrieval's pairs; ``words`` and ``labels`` of token
            classification. By default they have these names themselves, and rows are counted from
            0. None as a value is as nothing.
        named: the same as arguments.

    Raises:
        UserError: there is no such task (says which may be meant), or it has no such column.

    Example:
        >>> find_task("classification", text="review", label="stars").texts
        ('review',)
    """
    known = {_plain(task.name): task for task in TASKS}
    task = known.get(_plain(name))
    if task is None:
        official = ", ".join(task.name for task in TASKS if task.layout != "own")
        own = ", ".join(task.name for task in TASKS if task.layout == "own")
        raise UserError(
            f"unknown task {name!r}; {_meant(_plain(name), known)}there are {official}, and for "
            f"your own files {own}"
        )
    chosen = {key: column for key, column in {**(columns or {}), **named}.items() if column}
    return _with_columns(task, chosen) if chosen else task


_OTHER_NAMES = (
    (("ner", "pos", "tagging", "chunking", "conll", "conll2003"), "token-classification"),
    (("nli", "xnli", "textualentailment"), "mnli, qnli or rte"),
    (("sentiment", "sentimentanalysis", "sst", "sst5"), "sst2, imdb or classification"),
    (("paraphrase", "paraphrases"), "mrpc, qqp or pair-classification"),
    (("qa", "questions", "questionanswering"), "squad or squad-v2"),
    (("squad1", "squad11", "squadv1", "squadv11"), "squad"),
    (("squad20", "squadv20"), "squad-v2"),
    (("mnlim", "mnlimm", "mnlimatched", "mnlimismatched"), "mnli"),
    (("sts", "stsbenchmark", "semanticsimilarity"), "stsb or similarity"),
    (("search", "semanticsearch", "ranking", "ir", "beir", "msmarco"), "retrieval"),
    (("glue", "superglue"), "cola, sst2, mrpc or another of GLUE's"),
    (("textclassification", "sequenceclassification"), "classification"),
)
"""What others call the tasks, and which of ours may be meant."""

_NEAR = 0.75  # of 1; at less, as in ner and rte, what is alike is chance


def _meant(name: str, known: Mapping[str, Task]) -> str:
    for names, meant in _OTHER_NAMES:
        if name in names:
            return f"{meant} may be meant; "
    near = difflib.get_close_matches(name, known, 1, cutoff=_NEAR)
    return f"{known[near[0]].name} may be meant; " if near else ""


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _with_columns(task: Task, columns: Mapping[str, str]) -> Task:
    texts: tuple[str, ...] = ("text", "text_pair")
    if task.kind == "token_classification":
        texts = ("words",)
    elif task.name == "classification":
        texts = ("text",)
    elif task.kind == "retrieval":
        texts = (*texts, NEGATIVE)
    settable = (*texts, *([task.label] if task.label else ()), "id")
    if task.layout != "own":
        raise UserError(f"{task.name}: its columns are its official files'; name none")
    for key in columns:
        if key not in settable:
            raise UserError(f"{task.name}: has no column {key!r}; name {', '.join(settable)}")
    # Those beyond the task's own are read where they are named.
    named = [key for key in texts[len(task.texts) :] if key in columns]
    return replace(
        task,
        texts=tuple(columns.get(key, key) for key in (*texts[: len(task.texts)], *named)),
        label=columns.get(task.label, task.label),
        id=columns.get("id", ""),
    )
