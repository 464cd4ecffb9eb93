"""The benchmark: that all compute the same, that the formula counts right, that nothing is hidden.

No test here depends on time.
"""

import json
from dataclasses import asdict, replace

import pytest
import tensorflow as tf

from support import tiny
from tf_distilbert.benchmark import step
from tf_distilbert.benchmark.batch import IGNORED, labels_of, random_batch
from tf_distilbert.benchmark.flops import encoder_flops, head_flops, step_flops
from tf_distilbert.benchmark.inference import benchmark_inference, inference_competitors
from tf_distilbert.benchmark.input import benchmark_input
from tf_distilbert.benchmark.kinds import KINDS, run_benchmark
from tf_distilbert.benchmark.memory import benchmark_memory
from tf_distilbert.benchmark.our_models import OurStep
from tf_distilbert.benchmark.report import choose, describe_machine
from tf_distilbert.benchmark.timing import Measurement, measure, quartiles
from tf_distilbert.benchmark.worker import (
    Competitor,
    WorkerFailure,
    WorkerProcess,
    peak_memory,
)
from tf_distilbert.cli.main import main
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.hf_weights import write_tensors
from tf_distilbert.models.masked_language_model import MaskedLanguageModel

TEACHER = tiny.architecture()
STUDENT = step.half_of(TEACHER)
SIZES = {
    "teacher": asdict(TEACHER),
    "student": asdict(STUDENT),
    "batch_size": 4,
    "sequence_length": 16,
}


# What a step is.


def our_loss(step, batch):
    return float(step.distiller.test_step(tf.nest.map_structure(tf.constant, batch))["loss"])


@pytest.mark.parity
def test_pytorchs_step_has_our_loss():
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tf_distilbert.benchmark.torch_steps import TorchStep

    ours, theirs = OurStep(**SIZES), TorchStep(**SIZES)
    models = ours.distiller._teacher(), ours.distiller.student
    for model, peer in zip(models, (theirs.teacher, theirs.student), strict=True):
        tensors = {name: torch.from_numpy(t) for name, t in write_tensors(model).items()}
        assert not peer.load_state_dict(tensors, strict=False).unexpected_keys
    expected = our_loss(ours, random_batch(TEACHER.vocabulary_size, 4, 16))
    assert theirs.loss().item() == pytest.approx(expected, abs=1e-4)
    # After an update, too: clipping and optimizer are the same.
    first = ours()
    assert theirs() == pytest.approx(first, abs=1e-4)
    assert theirs() == pytest.approx(ours(), abs=1e-3)


@pytest.mark.parametrize("name", ["PlainStep", "KerasDistillerStep"])
def test_keras_nlps_steps_have_the_loss_of_our_distiller(name):
    from tf_distilbert.benchmark import keras_nlp_models
    from tf_distilbert.distillation.distiller import Distiller
    from tf_distilbert.training.optimizer import AdamW

    theirs = getattr(keras_nlp_models, name)(**SIZES)
    distiller = Distiller(theirs.teacher, theirs.student)
    distiller.compile(AdamW(5e-4))
    batch = random_batch(TEACHER.vocabulary_size, 4, 16)
    expected = distiller.test_step(tf.nest.map_structure(tf.constant, batch))["loss"]
    assert theirs() == pytest.approx(float(expected), abs=1e-4)
    before = float(expected)
    assert theirs() < before


def test_labels_stand_where_words_are_masked():
    batch = random_batch(50, 3, 20)
    inputs, mask_ids, _ = batch
    labels = labels_of(batch)
    assert (labels != IGNORED).sum() == mask_ids.size == 9
    assert labels[1, inputs["mask_positions"][1, 2]] == mask_ids[1, 2]


# The arithmetic.


def test_the_formula_counts_what_a_hand_counts():
    # D 16, I 32, V 49, 4 layers; 2 sequences of 8 tokens.
    layer = 4 * (2 * 16 * 16 * 16) + 2 * (2 * 16 * 16 * 32)  # products of [16 tokens, 16]
    layer += 2 * (2 * 2 * (2 * 8 * 8 * 8))  # 2 sequences, 2 heads of size 8, scores and values
    head = 16 * 2 * 16 * 16 + 16 * 2 * 16 * TEACHER.vocabulary_size
    assert encoder_flops(TEACHER, 16, 8) == 4 * layer
    assert head_flops(TEACHER, 16) == head
    assert step_flops(TEACHER, STUDENT, 2, 8) == 4 * layer + head + 3 * (2 * layer + head)
    at_masked = 4 * layer + head // 4 + 3 * (2 * layer + head // 4)
    assert step_flops(TEACHER, STUDENT, 2, 8, predictions=4) == at_masked


def test_a_step_of_bert_base_takes_the_arithmetic_that_is_known_of_it():
    teacher = step.BERT_BASE
    a_token = step_flops(teacher, step.half_of(teacher), 8, 128) / 1024
    assert a_token == pytest.approx(0.62e9, rel=0.02)


def test_the_formula_counts_what_tensorflows_profiler_counts():
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2_as_graph as freeze,
    )

    # Wide enough that what is no matrix product hardly counts.
    architecture = tiny.architecture(hidden_size=128, intermediate_size=512, vocabulary_size=500)
    model = MaskedLanguageModel(architecture)

    @tf.function
    def forward(ids, mask):
        last = model.hidden_states({"token_ids": ids, "padding_mask": mask})[-1]
        return model.logits(tf.reshape(last, (-1, 128)))

    specifications = tf.TensorSpec([2, 32], tf.int32), tf.TensorSpec([2, 32], tf.bool)
    frozen, _ = freeze(forward.get_concrete_function(*specifications))
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        profile = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    products = sum(
        node.total_float_ops
        for node in profile.children
        if node.name in ("MatMul", "BatchMatMulV2")
    )
    counted = encoder_flops(architecture, 64, 32) + head_flops(architecture, 64)
    assert products > 0 and counted == pytest.approx(profile.total_float_ops, rel=0.05)


# Competitors.

WORKLOAD = "input_workloads:tokenizers_tokenizer"  # it needs no TensorFlow, so it starts at once
BROKEN = Competitor("broken", WORKLOAD, {"nonsense": 1})
MISSING = Competitor("missing", WORKLOAD, {}, ("no_such_package", "json"))


@pytest.fixture
def present(tmp_path):
    text = str(tiny.write_text(tmp_path / "text.txt"))
    (tmp_path / "vocab.txt").write_text("\n".join(tiny.VOCABULARY) + "\n")
    files = {"text": text, "vocabulary": str(tmp_path / "vocab.txt"), "threads": 1}
    return Competitor("present", WORKLOAD, files)


def test_a_missing_package_is_named_with_the_remedy(present):
    chosen, missing = choose([present, MISSING])
    assert chosen == [present]
    assert "no_such_package not installed" in missing["missing"]
    assert "pip install" in missing["missing"] and "json" not in missing["missing"]
    with pytest.raises(UserError, match="--only missing: no_such_package not installed"):
        choose([present, MISSING], ["missing"])


def test_a_competitor_that_fails_is_reported_and_stops_nobody(present):
    working, broken = measure([present, BROKEN], rounds=2, calls=3)
    assert [len(turn) for turn in working.rounds["input"]] == [3, 3]
    assert working.failure is None and working.peak_bytes > 1e6
    assert "nonsense" in broken.failure and "\n" not in broken.failure
    assert broken.quartiles("input") is None


def test_a_process_that_is_killed_is_a_failure_like_others(present):
    with WorkerProcess(present) as worker:
        worker._process.kill()
        worker._process.wait()
        for _ in range(2):
            with pytest.raises(WorkerFailure, match="killed, most likely for want of memory"):
                worker.run("input")


def test_a_log_has_what_a_failure_does_not_say(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(WorkerFailure, match="AttributeError"):
        WorkerProcess(Competitor("lost", "input_workloads:lost", {}, log=str(log)))
    assert "Traceback" in log.read_text()


def test_the_anchor_is_timed_again_in_every_group(present, monkeypatch):
    monkeypatch.setattr("tf_distilbert.benchmark.timing.available_memory", lambda: 0)
    lines = []
    others = [replace(present, name=name) for name in ("a", "b")]
    found = measure([*others, present], rounds=1, warm_up=1, anchor="present", say=lines.append)
    a, b, anchor = found
    assert len(anchor.rounds["input"]) == 3
    assert a.baselines["input"] != b.baselines["input"]
    assert anchor.ratio("input") == 1.0
    assert a.ratio("input") > 0 and any("next group" in line for line in lines)


def test_quartiles_and_ratios():
    assert quartiles([]) is None and quartiles([[2.0]]) == (2.0, 2.0, 2.0)
    assert quartiles([[1.0, 2.0], [3.0], [4.0, 5.0]]) == (2.0, 3.0, 4.0)
    measurement = Measurement("x", rounds={"c": [[2.0]]}, baselines={"c": [[6.0]]})
    assert measurement.ratio("c") == 3.0 and measurement.ratio("other") is None


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine["cores"] >= 1 and machine["versions"]["tensorflow"] == tf.__version__
    assert peak_memory() > 1e8


# The kinds, from the command line down.


@pytest.mark.long
def test_step_prints_a_table_and_writes_everything(tmp_path, capsys):
    path = tmp_path / "step.json"
    names = ["ours-float32-masked", "keras-nlp-bfloat16"]
    result = step.benchmark_step(
        quick=True,
        json_path=str(path),
        only=names,
        batch_size=2,
        sequence_length=16,
        rounds=2,
        teacher=TEACHER,
    )
    assert json.loads(path.read_text()).keys() == result.keys()
    assert result.keys() >= {"kind", "machine", "settings", "competitors", "missing"}
    assert set(result["matrix_peak_flops_per_second"]) == {"float32", "bfloat16"}
    for entry, name in zip(result["competitors"], names, strict=True):
        assert entry["name"] == name and entry["failure"] is None
        assert [len(turn) for turn in entry["seconds"]] == [1, 1]
        assert entry["tokens_per_second"] > 0 and entry["share_of_matrix_peak"] > 0
        assert entry["peak_bytes"] > 1e8 and entry["first_loss"] > 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names) and "Matrix peak" in printed


@pytest.mark.slow
def test_inference_runs_on_tiny_models(tmp_path, monkeypatch):
    peak = {"float32": 1e9, "bfloat16": 2e9}
    monkeypatch.setattr("tf_distilbert.benchmark.report.measure_matrix_peak", lambda _: peak)
    path = tmp_path / "inference.json"
    result = benchmark_inference(
        quick=True,
        json_path=str(path),
        only=[
            *("ours-student-float32", "ours-teacher-bfloat16", "keras-nlp-teacher-float32"),
            *("ours-exported-bfloat16", "keras-nlp-exported-float32"),
        ],
        batch_size=2,
        sequence_length=16,
        rounds=1,
        teacher=TEACHER,
    )
    for entry in json.loads(path.read_text())["competitors"]:
        assert entry["cases"].keys() == {"1x16", "2x16"}
        assert all(case["sequences_per_second"] > 0 for case in entry["cases"].values())
    assert result["settings"]["shapes"] == {"1x16": (1, 16), "2x16": (2, 16)}


@pytest.mark.long
def test_input_runs_and_is_compared_with_the_step():
    result = benchmark_input(
        quick=True,
        only=["tokenise-tokenizers-1", "mask-ours", "pipeline-ours"],
        rounds=1,
        step_tokens_per_second=10.0,
    )
    tokenising, masking, pipeline = result["competitors"]
    assert tokenising["unit"] == "MB/s" and tokenising["times_step"] is None
    for entry in (masking, pipeline):
        assert entry["times_step"] == pytest.approx(entry["rate"] / 10)
    assert pipeline["amount_of_a_call"] <= 20 * 32 * 128


@pytest.mark.long
def test_memory_of_the_loss_is_measured_and_both_ways_agree():
    result = benchmark_memory(tokens=(512,), vocabularies=(20_000,), hidden_size=8, rounds=1)
    plain, chunked = result["competitors"]
    assert plain["failure"] is chunked["failure"] is None
    assert plain["extra_bytes"] > 4 * 512 * 20_000  # it holds the logits
    assert chunked["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    assert chunked["gradient_norm"] == pytest.approx(plain["gradient_norm"], rel=1e-4)


def test_a_point_without_room_is_not_started(monkeypatch):
    monkeypatch.setattr("tf_distilbert.benchmark.memory.available_memory", lambda: 10**6)
    with pytest.raises(UserError, match="no point was measured"):
        benchmark_memory(only=["plain-256x30522"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("step --only nobody", "--only nobody: no such competitor; use ours-float32, "),
        ("inference --only nobody", "--only nobody: no such competitor"),
        ("memory --only plain-1x1", "--only plain-1x1: no such competitor"),
        ("input --text nowhere.txt", "nowhere.txt: no such file"),
        ("step --batch-size 0", "--batch-size is 0; give more than 0"),
        ("step --sequence-length 513", "--sequence-length 513: use 512 at most"),
        ("memory --text x", "--text: benchmark memory has no such option"),
        ("step --json nowhere/x.json", "nowhere/x.json: cannot be written"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(command, message, capsys, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    assert main(["benchmark", *command.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_competitor_asked_for_without_its_package_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("tf_distilbert.benchmark.worker.find_spec", lambda package: None)
    assert main(["benchmark", "step", "--only", "pytorch-float32"]) == 2
    assert "torch and transformers not installed" in capsys.readouterr().err


def test_names_of_competitors_differ_and_every_kind_is_there():
    shapes = {"1x16": (1, 16)}
    for listed in (
        step.step_competitors(TEACHER, STUDENT, 2, 8),
        inference_competitors(TEACHER, STUDENT, shapes),
    ):
        assert len({competitor.name for competitor in listed}) == len(listed)
    assert set(KINDS) == {"step", "inference", "input", "memory"}
    with pytest.raises(UserError, match="--vocabulary: benchmark step has no such option"):
        run_benchmark("step", vocabulary="x")
