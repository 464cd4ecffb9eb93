"""What fine-tuning starts from and writes, against `transformers`: poolers, rows, logits."""

import json

import numpy as np
import pytest
from rich.console import Console

from support import tiny
from support.parity import at_most, bert, torch, transformers, write_folder
from support.task_files import squad_file, squad_question
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.distillation.student import build_student
from tf_distilbert.finetuning.encoding import encode_split
from tf_distilbert.finetuning.finetune import finetune
from tf_distilbert.finetuning.rows import TaskBatches
from tf_distilbert.finetuning.splits import read_split, with_labels
from tf_distilbert.finetuning.start_model import start_model
from tf_distilbert.finetuning.tasks import find_task
from tf_distilbert.model_files.folder import load_task_model, save_model

pytestmark = pytest.mark.parity
SECTION = "Fine-tuned models"
AGAINST = "transformers with its tokenizer, float32"
TOLERANCE = 2e-6

QUIET = Console(quiet=True)
TEXTS = (
    ("paris is the capital of france .", "rome", "yes", 4.5),
    ("the river", "paris is the capital of france .", "no", 1.25),
    ("berlin , of germany", "is berlin the capital ?", "yes", 3.0),
    ("rome of italy is the", "river , river", "no", 0.5),
)
CONTEXT = "Paris is the capital of France. Rome is the capital of Italy."
COLUMNS = {"regression": {"text_pair": "text_pair"}}  # without it, of one text
HF_MODELS = {
    "question_answering": "AutoModelForQuestionAnswering",
    "token_classification": "AutoModelForTokenClassification",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher, a student, and files of four kinds of tasks."""
    folder = tmp_path_factory.mktemp("finetuned")
    teacher = tiny.model(seed=1)
    save_model(teacher, folder / "bert")
    save_model(build_student(teacher), folder / "distilbert")
    for split in ("train", "dev"):
        for task, label in (("pair-classification", 2), ("regression", 3)):
            lines = ({"text": t[0], "text_pair": t[1], "label": t[label]} for t in TEXTS)
            write_lines(folder / task / f"{split}.jsonl", lines)
        words = (text.split() for text, *_ in TEXTS)
        lines = ({"words": w, "labels": ["B-X" if len(x) > 3 else "O" for x in w]} for w in words)
        write_lines(folder / "token-classification" / f"{split}.jsonl", lines)
        question = squad_question("the capital of Italy", CONTEXT, "Rome")
        squad_file(folder / "squad" / f"{split}-v1.1.json", CONTEXT, question)
    return folder


def write_lines(path, lines):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def fine_tuned(folder, family, task):
    """A folder after three updates, large enough to move every weight."""
    values = {
        "task": task,
        "columns": COLUMNS.get(task, {}),
        "model": str(folder / family),
        "data": str(folder / task),
        "output": str(folder / f"{family}-{task}"),
        "train": {"steps": 3, "epochs": None, "global_batch_size": 4, "learning_rate": 0.05}
        | {"precision": "float32", "resume": "overwrite"},
    }
    finetune(parse_config(FinetuneConfig, values), QUIET)
    return folder / f"{family}-{task}" / "model"


def our_logits(path, task, data):
    model = load_task_model(path)
    task = with_labels(find_task(task, columns=COLUMNS.get(task)), str(data))
    examples = read_split(task, str(data), task.validation_splits[0])
    split = encode_split(task, examples, model)
    batches = TaskBatches(split.rows, 8, seed=None)

    def predict(inputs):
        return model.predict_on_batch({k: v for k, v in inputs.items() if k != "answer_mask"})

    return batches.predict(predict)


def their_logits(path, kind, texts, **options):
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    name = HF_MODELS.get(kind, "AutoModelForSequenceClassification")
    made, report = getattr(transformers, name).from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    logits = []
    for text in texts:
        inputs = tokenizer(*text, return_tensors="pt", **options)
        # As the model's own class wants them: DistilBERT takes no segment ids.
        if made.config.model_type == "distilbert":
            inputs.pop("token_type_ids", None)
        with torch.no_grad():
            result = made.eval()(**inputs)
        if kind == "question_answering":
            logits.append(torch.stack([result.start_logits, result.end_logits], -1)[0].numpy())
        else:
            logits.append(result.logits[0].numpy())
    return logits


def compare(ours, theirs, what):
    assert len(ours) == len(theirs)
    pairs = [(a[: len(b)] if a.ndim > 1 else a, b) for a, b in zip(ours, theirs, strict=True)]
    largest = max(np.abs(b).max() for _, b in pairs)
    assert largest > 0.1
    measured = max(np.abs(a - b).max() for a, b in pairs)
    at_most(SECTION, what, AGAINST, measured, TOLERANCE * max(1, largest))


@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("task", ["pair-classification", "regression"])
def test_pairs(folder, family, task):
    path = fine_tuned(folder, family, task)
    pairs = [pair for *pair, _, _ in TEXTS]
    theirs = their_logits(path, "classification", pairs)
    compare(our_logits(path, task, folder / task), theirs, f"logits, {family}, {task}")


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_words(folder, family):
    path = fine_tuned(folder, family, "token-classification")
    words = [(text.split(),) for text, *_ in TEXTS]
    theirs = their_logits(path, "token_classification", words, is_split_into_words=True)
    ours = our_logits(path, "token-classification", folder / "token-classification")
    compare(ours, theirs, f"logits, {family}, token-classification")


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_questions(folder, family):
    path = fine_tuned(folder, family, "squad")
    pair = [("What is the capital of Italy?", CONTEXT)]
    theirs = their_logits(path, "question_answering", pair)
    compare(our_logits(path, "squad", folder / "squad"), theirs, f"logits, {family}, squad")


@pytest.mark.parametrize("kind", ["BertModel", "BertForPreTraining"])
def test_the_pooler_of_the_pre_training_is_kept(tmp_path, kind):
    theirs = bert(kind)
    ours = start_model(str(write_folder(tmp_path / "bert", theirs)), "classification", ("a", "b"))
    pooler = getattr(theirs, "bert", theirs).pooler.dense
    expected = pooler.weight.detach().numpy().T, pooler.bias.detach().numpy()
    for found, value in zip(ours.head.transform.weights, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(found.value), value)


def test_a_bert_without_pooler_gets_a_new_one(tmp_path):
    path = write_folder(tmp_path / "bert", bert("BertForMaskedLM"))
    kernel, bias = start_model(str(path), "classification", ("a", "b")).head.transform.weights
    assert np.std(np.asarray(kernel.value)) == pytest.approx(0.02, rel=0.1)
    assert not np.asarray(bias.value).any()
