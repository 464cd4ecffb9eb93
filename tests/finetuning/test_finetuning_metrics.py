"""Metrics of classes, numbers and tokens: scikit-learn's and scipy's numbers, and cases by hand."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import TextExample, TokenExample
from tf_distilbert.finetuning.metrics import (
    accuracy,
    entities,
    entity_f1,
    f1,
    macro_f1,
    matthews,
    pearson,
    score,
    spearman,
    token_accuracy,
)
from tf_distilbert.finetuning.tasks import find_task

SEEDS = range(12)


def classes(seed, count=2):
    """Labels, and predictions of which about half are right."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 200))
    labels = random.integers(0, count, size)
    return np.where(random.random(size) < 0.5, labels, random.integers(0, count, size)), labels


def numbers(seed):
    """Numbers with ties, as STS-B has them."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 11, 60) / 2
    return np.round(scores + random.normal(0, 2, 60), seed % 3).astype(np.float32), scores


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_classes(seed, count):
    predicted, labels = classes(seed, count)
    assert accuracy(predicted, labels) == sklearn.metrics.accuracy_score(labels, predicted)
    expected = sklearn.metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert macro_f1(predicted, labels) == pytest.approx(expected, abs=1e-12)
    expected = sklearn.metrics.matthews_corrcoef(labels, predicted)
    assert matthews(predicted, labels) == pytest.approx(expected, abs=1e-12)
    for positive in range(count):
        expected = sklearn.metrics.f1_score(
            labels == positive, predicted == positive, zero_division=0
        )
        assert f1(predicted, labels, positive) == pytest.approx(expected, abs=1e-12)


def test_the_positive_class_is_the_second():
    predicted, labels = np.array([1, 1, 0, 0, 0]), np.array([1, 0, 0, 0, 1])
    assert f1(predicted, labels) == 0.5  # one of two found, one of two right
    assert f1(predicted, labels, 0) == pytest.approx(2 / 3)


def test_matthews_of_many_examples():
    predicted, labels = np.arange(400_000) % 2, np.arange(400_000) // 3 % 2
    expected = np.corrcoef(predicted, labels)[0, 1]
    assert matthews(predicted, labels) == pytest.approx(expected, abs=1e-12)
    assert matthews(labels, labels) == 1.0
    assert matthews(1 - labels, labels) == -1.0


@pytest.mark.parametrize("constant", [0, 1])
def test_constant_classes(constant):
    labels = np.array([0, 1, 1, 0, 1])
    same = np.full(5, constant)
    assert matthews(same, labels) == matthews(labels, same) == matthews(same, same) == 0.0
    assert sklearn.metrics.matthews_corrcoef(labels, same) == 0.0
    assert f1(np.zeros(5, int), labels) == 0.0
    assert f1(np.zeros(5, int), np.zeros(5, int)) == 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers(seed):
    predicted, scores = numbers(seed)
    assert len(np.unique(scores)) < len(scores)  # so that there are ties
    expected = scipy.stats.pearsonr(predicted.astype(np.float64), scores).statistic
    assert pearson(predicted, scores) == pytest.approx(expected, abs=1e-12)
    expected = scipy.stats.spearmanr(predicted, scores).statistic
    assert spearman(predicted, scores) == pytest.approx(expected, abs=1e-12)


def test_ties_share_their_mean_rank():
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: deviations give 4.5 / root of 4.5 times 5.
    assert spearman(np.array([1.0, 5, 5, 9]), np.array([1.0, 2, 3, 4])) == pytest.approx(
        4.5 / np.sqrt(4.5 * 5), abs=1e-12
    )


def test_a_constant_is_not_correlated():
    scores = np.array([1.0, 2.0, 4.0])
    constant = np.full(3, np.float32(0.1))
    for correlation in (pearson, spearman):
        assert correlation(constant, scores) == correlation(scores, constant) == 0.0


def test_correlations_of_large_and_of_near_numbers():
    scores = np.array([1.0, 2.0, 4.0, 3.0])
    for predicted in (scores * 1e300, scores * 1e-300, scores * 1e-6 + 1):
        assert pearson(predicted, scores) == pytest.approx(1, abs=1e-9)
        assert pearson(-predicted, scores) == pytest.approx(-1, abs=1e-9)
        assert spearman(predicted, scores) == pytest.approx(1, abs=1e-12)


# --- tokens ---


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("B-PER I-PER O B-PER", [("PER", 0, 2), ("PER", 3, 4)]),
        ("B-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("O I-LOC I-LOC", [("LOC", 1, 3)]),  # as CoNLL 2003 writes them
        ("B-PER I-LOC I-PER", [("PER", 0, 1), ("LOC", 1, 2), ("PER", 2, 3)]),
        ("I-PER B-PER O", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B I O I", [("", 0, 2), ("", 3, 4)]),
        ("B-A-B I-A-B", [("A-B", 0, 2)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities(labels, expected):
    assert entities(labels.split()) == expected


def test_entity_f1_wants_type_and_both_ends():
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC"], ["O", "O"]]
    found = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC"], ["O", "B-LOC"]]
    # Of three true and four found entities two are the same.
    assert entity_f1(found, true) == pytest.approx(4 / 7)
    assert token_accuracy(found, true) == pytest.approx(5 / 7)
    shorter = [["B-PER", "O", "O", "B-LOC"], ["B-LOC"], ["O", "O"]]
    assert entity_f1(shorter, true) == pytest.approx(4 / 6)
    nothing = [["O"] * len(sentence) for sentence in true]
    assert entity_f1(nothing, true) == entity_f1(nothing, nothing) == 0.0


def test_entities_of_different_sentences_are_different():
    assert entity_f1([["B-A", "O"], ["O", "O"]], [["O", "O"], ["B-A", "O"]]) == 0.0


# What seqeval 1.2.2 gives for the same labels, not strict.
@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        ("I-PER I-LOC B-LOC O", "B-PER I-PER B-LOC O", 0.4),
        ("I-MISC O I-MISC B-LOC I-LOC", "I-MISC I-MISC I-MISC B-LOC I-LOC", 0.4),
        ("O I-PER I-LOC I-LOC B-LOC", "O B-PER B-LOC I-LOC B-LOC", 1.0),
    ],
)
def test_entity_f1_as_seqeval(found, true, expected):
    assert entity_f1([found.split()], [true.split()]) == pytest.approx(expected)


@pytest.mark.parametrize("other", [True, False])
def test_labels_that_are_not_bio(other):
    random = np.random.default_rng(3)
    names = np.array(["NOUN", "VERB", "I-LIKE", "O" if other else "X"])
    true, found = (names[random.integers(0, 4, (20, 6))].tolist() for _ in range(2))
    kept = [name for name in names if name != "O"]
    expected = sklearn.metrics.f1_score(
        np.ravel(true), np.ravel(found), labels=kept, average="micro"
    )
    assert entity_f1(found, true) == pytest.approx(expected)
    assert (entity_f1(found, true) == pytest.approx(token_accuracy(found, true))) != other


# --- of a task ---


def text_examples(labels):
    return [TextExample(str(i), ("a",), label) for i, label in enumerate(labels)]


GLUE_CLASSES = ("cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte", "wnli", "ax")


@pytest.mark.parametrize("name", GLUE_CLASSES)
def test_scores_of_classification_tasks(name):
    task = find_task(name)
    predicted, labels = classes(0, len(task.labels))
    scores = score(task, predicted, text_examples(labels.tolist()))
    assert tuple(scores) == task.metrics
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(labels, predicted),
        "matthews": sklearn.metrics.matthews_corrcoef(labels, predicted),
    }
    if "f1" in task.metrics:
        expected["f1"] = sklearn.metrics.f1_score(labels, predicted)
    for metric, value in scores.items():
        assert value == pytest.approx(expected[metric], abs=1e-12)
    assert task.main_score(scores) == pytest.approx(np.mean(list(scores.values())))


def test_scores_of_the_users_own_classes():
    task = find_task("classification")
    predicted, labels = classes(1, 4)
    scores = score(task, predicted.tolist(), text_examples(labels.tolist()))
    assert tuple(scores) == task.metrics == ("accuracy", "macro_f1")
    expected = sklearn.metrics.f1_score(labels, predicted, average="macro")
    assert scores["macro_f1"] == pytest.approx(expected)
    assert task.main_score(scores) == scores["accuracy"]


def test_scores_of_regressions():
    predicted, labels = numbers(2)
    examples = text_examples(labels.tolist())
    for name in ("stsb", "regression"):
        scores = score(find_task(name), predicted, examples)
        assert tuple(scores) == find_task(name).metrics
        expected = scipy.stats.spearmanr(predicted, labels).statistic
        assert scores["spearman"] == pytest.approx(expected, rel=1e-12)
        expected = scipy.stats.pearsonr(predicted.astype(float), labels).statistic
        assert scores["pearson"] == pytest.approx(expected)
        main = find_task(name).main_score({"pearson": 0.5, "spearman": 0.7})
        assert main == pytest.approx(0.6)


def test_scores_of_tokens():
    task = replace(find_task("token-classification"), labels=("B-A", "I-A", "O"))
    examples = [
        TokenExample("0", ("a", "b", "c"), (0, 1, 2)),
        TokenExample("1", ("d",), (0,)),
    ]
    scores = score(task, [[0, 1, 2], [2]], examples)
    assert scores == {"f1": pytest.approx(2 / 3), "accuracy": 0.75}
    assert task.main_score(scores) == scores["f1"]


def test_what_cannot_be_scored():
    task, examples = find_task("stsb"), text_examples([1.0, 2.0, None])
    with pytest.raises(UserError, match=r"stsb: example 2 has no label, .* score a split"):
        score(task, np.zeros(3), examples)
    with pytest.raises(UserError, match=r"stsb: 1 of 2 predictions are not finite; train with"):
        score(task, np.array([1.0, np.nan]), examples[:2])
    with pytest.raises(ValueError, match="3 predictions of 2 examples"):
        score(task, np.zeros(3), examples[:2])
