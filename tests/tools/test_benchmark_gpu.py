"""The benchmark for a GPU: that it runs without TensorFlow, and that all make the same update.

No test here depends on time, and none needs a GPU.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from support import tiny
from tf_distilbert.benchmark.batch import random_batch
from tf_distilbert.benchmark.step import half_of
from tf_distilbert.benchmark.timing import Measurement
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.training.optimizer import AdamW

TOOLS = Path(__file__).parents[2] / "tools"
SHAPES, VARIANTS = ("64x128", "16x512"), ("all", "masked", "all-no-attention-dropout")
# What a machine with JAX, Keras and PyTorch alone does not have.
BLOCKED = ("tensorflow", "tensorflow_text", "transformers", "tokenizers")


@pytest.fixture(autouse=True, scope="module")
def tools():
    """Let the tools be imported, which find each other in their own folder."""
    sys.path.insert(0, str(TOOLS))
    yield
    sys.path.remove(str(TOOLS))


# The program.


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """What the program writes where no process can import TensorFlow."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs JAX: pip install -e '.[jax]'")
    folder = tmp_path_factory.mktemp("gpu")
    program = f"import sys\nsys.modules.update(dict.fromkeys({BLOCKED}))\n"
    (folder / "sitecustomize.py").write_text(program)
    only = ["*/all/ours-chunk-16*", "*/all/pytorch-eager"]
    command = [sys.executable, TOOLS / "benchmark_gpu.py", "--tiny", "--json", folder / "result"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": "-1"}
    run = subprocess.run(
        [*command, "--only", *only, "--log", folder / "log"],
        env=environment,
        text=True,
        capture_output=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr + (folder / "log").read_text()
    return {**json.loads((folder / "result").read_text()), "printed": run.stdout}


def test_each_competitor_asked_for_has_a_row(result):
    names = [entry["name"] for entry in result["competitors"]]
    expected = ["pytorch-eager", "ours-chunk-16", "ours-chunk-16-synchronised"]
    assert names == [f"4x16/all/{name}" for name in expected]
    assert all(name in result["printed"] for name in expected)


def test_ours_learns_and_every_field_is_filled(result):
    for entry in result["competitors"][1:]:
        assert entry["failure"] is None
        assert np.isfinite(entry["last_loss"]) and entry["last_loss"] < entry["first_loss"]
        assert entry["tokens_per_second"] == pytest.approx(64 / entry["quartiles"][1])
        assert 0 < entry["share_of_matrix_peak"] < 1
        assert len(entry["seconds"]) == result["settings"]["rounds"] == 2
        assert entry["device_peak_bytes"] is None  # a processor has no memory of its own
    # Waiting for each step makes no other step.
    assert len({entry["last_loss"] for entry in result["competitors"][1:]}) == 1


def test_pytorch_takes_part_or_has_its_reason(result):
    entry, ours, _ = result["competitors"]
    if importlib.util.find_spec("torch"):
        assert entry["failure"] is None and entry["last_loss"] < entry["first_loss"]
        assert ours["times_eager"] == pytest.approx(entry["quartiles"][1] / ours["quartiles"][1])
    else:
        assert entry["failure"] == "torch not installed"
        assert ours["times_eager"] is None and entry["failure"] in result["printed"]


def test_the_machine_is_described(result):
    engine = result["engines"]["jax"]
    assert engine["flops_per_second"] > 0 and engine["platform"] == "cpu"
    assert engine["fused_attention"] == "no"  # there is no cuDNN
    assert {"jax", "keras", "torch"} <= result["machine"]["versions"].keys()


# Who takes part.


def test_all_variants_are_there():
    from gpu_competitors import FULL, competitor_groups

    groups = competitor_groups(FULL)
    assert groups.keys() == {f"{shape}/{variant}" for shape in SHAPES for variant in VARIANTS}
    engines = {name: [c.name.rpartition("/")[2] for c in group] for name, group in groups.items()}
    for shape in SHAPES:
        chunks = [f"ours-chunk-{size}" for size in (512, 2048, 4096)]
        rivals = ["pytorch-eager", "pytorch-compiled"]
        assert engines[f"{shape}/all"] == [
            *(*rivals, *chunks, "ours-chunk-512-synchronised", "ours-plain")
        ]
        # Fewer tokens are masked than the larger chunks have.
        assert engines[f"{shape}/masked"] == [*rivals, "ours-chunk-512", "ours-plain"]
        assert engines[f"{shape}/all-no-attention-dropout"] == [*rivals, "ours-plain"]


def test_a_group_computes_the_same():
    from gpu_competitors import FULL, competitor_groups

    for name, group in competitor_groups(FULL).items():
        assert len({str(c.facts) for c in group}) == 1
        students = [c.arguments["student"]["attention_dropout"] for c in group]
        assert set(students) == {0.0 if "no-attention-dropout" in name else 0.1}


def test_patterns_choose():
    from gpu_competitors import FULL, chosen_groups, competitor_groups

    groups = competitor_groups(FULL)
    chosen = chosen_groups(groups, ["64x128/masked/*", "*/ours-plain"])
    assert [len(group) for group in chosen.values()] == [1, 1, 4, 1, 1, 1]
    with pytest.raises(ValueError, match="pytorch-lazy: no such competitor"):
        chosen_groups(groups, ["pytorch-lazy"])


def test_a_group_without_time_is_not_begun():
    from benchmark_gpu import Clock, measure_group
    from gpu_competitors import TINY, competitor_groups

    group = competitor_groups(TINY)["4x16/all"]
    for measurement in measure_group(group, 1, Clock(0.0), print):
        assert "not installed" in measurement.failure or "time is up" in measurement.failure


def test_rivals_are_compared_within_the_group():
    from gpu_competitors import TINY, competitor_groups
    from gpu_report import entries

    group = competitor_groups(TINY)["4x16/masked"]
    seconds = {"pytorch-eager": 6.0, "pytorch-compiled": 3.0, "ours-plain": 2.0}
    measurements = [
        Measurement(c.name, {"steps": [[3 * seconds[c.name.rpartition("/")[2]]]]}) for c in group
    ]
    ours = entries(group, measurements, 1e9)[-1]
    assert (ours["times_eager"], ours["times_compiled"]) == (3.0, 1.5)
    assert ours["quartiles"] == [2.0, 2.0, 2.0]  # of the 3 steps of a turn
    failed = [Measurement(c.name, failure="no memory") for c in group]
    assert entries(group, failed, None)[0]["times_eager"] is None


# PyTorch's update.


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_pytorchs_update_is_ours(positions):
    torch = pytest.importorskip("torch")
    from tf_distilbert.benchmark.torch_steps import TorchRun

    teacher, student = tiny.model(1), tiny.model(2, **distilbert_sizes())
    ours = Distiller(teacher, student, distillation_positions=positions)
    ours.compile(AdamW(5e-4, clip_norm=5.0))
    theirs = TorchRun(
        *(asdict(teacher.architecture), asdict(student.architecture), 4, 16, "float32"),
        positions=positions,
    )
    for model, peer in ((teacher, theirs.teacher), (student, theirs.student)):
        weights = {name: np.array(v.value) for name, v in named_variables(model).items()}
        peer.load_state_dict(
            {
                torch_name(name): torch.tensor(value.T if name.endswith("/kernel") else value)
                for name, value in weights.items()
            }
        )
    batch = random_batch(teacher.architecture.vocabulary_size, 4, 16)
    logs = ours.train_on_batch(*batch, return_dict=True)
    # What is compiled weighs the tokens instead of selecting them.
    for selects in (True, False):
        assert theirs.loss(selects).item() == pytest.approx(logs["loss"], rel=1e-5)
    loss, norm = theirs.update()
    assert loss.item() == pytest.approx(logs["loss"], rel=1e-5)
    assert norm.item() == pytest.approx(logs["gradient_norm"], rel=1e-5)
    # After the update, too: clipping and optimizer are the same.
    ours.reset_metrics()
    again = ours.train_on_batch(*batch, return_dict=True)["loss"]
    assert theirs.update()[0].item() == pytest.approx(again, rel=1e-4)


def distilbert_sizes():
    described = asdict(half_of(tiny.architecture()))
    return {name: described[name] for name in ("family", "num_layers", "num_segments")}


def torch_name(name):
    """``encoder/block_0/output_norm/gamma`` becomes ``blocks.0.output_norm.weight``."""
    name = name.removeprefix("encoder/").removeprefix("head/").replace("block_", "blocks/")
    if name.endswith("_table"):
        name += "/weight"
    for ours, theirs in (("kernel", "weight"), ("gamma", "weight"), ("beta", "bias")):
        name = name.replace(f"/{ours}", f"/{theirs}")
    return name.replace("/", ".")
