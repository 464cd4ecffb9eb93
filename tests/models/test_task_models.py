"""Models with the heads of downstream tasks: logits, labels and folders are Hugging Face's."""

import json

import numpy as np
import pytest

from support import tiny
from support.task_model import LABELS, task_model
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.encoders import load_encoder
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.model_files.task_config import _DROPOUT
from tf_distilbert.models.task_models import QuestionAnswerer, SequenceClassifier, TokenClassifier

TASKS = ("sequence_classification", "token_classification", "question_answering", "encoder")
FAMILIES = ("bert", "distilbert", "roberta")
HF_NAMES = {
    "sequence_classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "question_answering": "ForQuestionAnswering",
    "encoder": "Model",
}


def inputs(rows=3, length=11, segments=True):
    generator = np.random.default_rng(1)
    lengths = generator.integers(4, length + 1, rows)
    made = {
        "token_ids": generator.integers(5, 40, (rows, length)).astype("int32"),
        "padding_mask": (np.arange(length) < lengths[:, None]).astype("int32"),
    }
    if segments:
        made["segment_ids"] = generator.integers(0, 2, (rows, length)).astype("int32")
    return made


def of_real_tokens(values, mask):
    return values[mask.astype(bool)] if np.ndim(values) == 3 else values


@pytest.mark.parity
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_what_is_saved_is_the_same_model_in_transformers(task, family, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = task_model(task, family)
    save_model(model, tmp_path / "model")
    given = inputs(segments=family == "bert")
    ours = np.asarray(model(given))
    prefix = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}[family]
    theirs = getattr(transformers, prefix + HF_NAMES[task])
    theirs, report = theirs.from_pretrained(tmp_path / "model", output_loading_info=True)
    # A bare BERT's pooler has no counterpart here; nothing else may be made up.
    assert all("pooler" in key for key in report["missing_keys"]), report
    names = {"token_ids": "input_ids", "padding_mask": "attention_mask"}
    names["segment_ids"] = "token_type_ids"
    if family == "roberta":  # it finds out by the ids what is padding
        given["token_ids"] = np.where(given["padding_mask"], given["token_ids"], 1)
        ours = np.asarray(model(given))
    tensors = {names[key]: torch.tensor(value).long() for key, value in given.items()}
    with torch.no_grad():
        result = theirs.eval()(**tensors)
    if task == "question_answering":
        expected = np.stack([result.start_logits, result.end_logits], axis=-1)
    else:
        expected = (result.last_hidden_state if task == "encoder" else result.logits).numpy()
    mask = given["padding_mask"]
    difference = np.abs(of_real_tokens(ours, mask) - of_real_tokens(expected, mask)).max()
    assert difference < 2e-6 * max(1, np.abs(expected).max())
    if hasattr(model, "labels"):
        assert tuple(theirs.config.id2label.values()) == model.labels
    if task == "sequence_classification":
        assert theirs.config.problem_type == "single_label_classification"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ("masked_lm", *TASKS))
def test_a_folder_gives_back_the_model(task, family, tmp_path):
    model = task_model(task, family)
    save_model(model, tmp_path / "model")
    loaded = load_task_model(tmp_path / "model")
    assert type(loaded) is type(model)
    given = inputs(segments=family == "bert")
    given["mask_positions"] = np.array([[1, 2]] * 3, "int32")
    np.testing.assert_array_equal(loaded(given), model(given))
    if (task, family) in _DROPOUT:  # else config.json has no place for the head's own
        assert loaded._settings() == model._settings()
    assert loaded.tokenizer.sha256 == model.tokenizer.sha256
    encoder, _ = load_encoder(tmp_path / "model")
    states = encoder(given["token_ids"], given["padding_mask"])
    bare = load_task_model(tmp_path / "model", "encoder")
    without_segments = {key: given[key] for key in ("token_ids", "padding_mask")}
    np.testing.assert_array_equal(bare(without_segments), states[-1])


def test_classes_are_those_of_the_folder(tmp_path):
    model = task_model("sequence_classification", problem="multi_label", head_dropout=0.3)
    save_model(model, tmp_path / "model")
    loaded = load_task_model(tmp_path / "model")
    assert (loaded.labels, loaded.problem, loaded.head_dropout) == (LABELS, "multi_label", 0.3)
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    del config["id2label"], config["problem_type"]
    path.write_text(json.dumps(config | {"num_labels": 3}))
    loaded = load_task_model(tmp_path / "model")
    assert (loaded.labels, loaded.problem) == (("LABEL_0", "LABEL_1", "LABEL_2"), "single_label")


def test_one_label_is_a_regression():
    assert SequenceClassifier(tiny.architecture(), ["score"]).problem == "regression"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("sequence_classification", r"has no sequence-classification head.*SequenceClass"),
        ("question_answering", r"has no question-answering head"),
        ("masked_lm", r"has no masked-LM head"),
        ("summary", r"task 'summary': use one of masked_lm"),
    ],
)
def test_a_head_that_is_not_there_is_not_made_up(task, message, tmp_path):
    save_model(task_model("encoder"), tmp_path / "model")
    with pytest.raises(UserError, match=message):
        load_task_model(tmp_path / "model", task)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["DistilBertForMultipleChoice"]}, "MultipleChoice, whose head none"),
        ({"architectures": None}, "does not say which head.*--task"),
        ({"id2label": {"0": "a", "2": "b", "3": "c"}}, "keys of id2label are not 0, 1, 2"),
        ({"id2label": {"0": "a", "1": "a", "2": "c"}}, "two classes of id2label have one name"),
        ({"id2label": {"0": "a", "1": "b"}}, r"classifier.weight has shape \[3, 16\]"),
        ({"problem_type": "ranking"}, "problem_type 'ranking': use single_label"),
        ({"seq_classif_dropout": "much"}, r"seq_classif_dropout is 'much'; it must be in \[0, 1\)"),
        ({"id2label": None, "num_labels": 0}, "num_labels is 0"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change, message, tmp_path):
    save_model(task_model("sequence_classification"), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        load_task_model(tmp_path / "model")


@pytest.mark.parametrize("labels", [[], ["a", "a"]])
@pytest.mark.parametrize("made", [SequenceClassifier, TokenClassifier])
def test_labels_must_be_told_apart(made, labels):
    with pytest.raises(UserError, match=r"labels .*: give one or more"):
        made(tiny.architecture(), labels)


def test_dropout_of_the_head_is_for_training_alone():
    model = QuestionAnswerer(tiny.architecture(), head_dropout=0.5)
    given = inputs()
    np.testing.assert_array_equal(model(given), model(given))
    assert np.abs(np.asarray(model(given, training=True)) - np.asarray(model(given))).max() > 0
