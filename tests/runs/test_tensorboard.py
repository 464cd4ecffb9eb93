"""TensorBoard: the log's figures, a chart a name; histograms and a profile when asked for."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from support import tiny
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.runs.tensorboard import StepProfile
from tf_distilbert.runs.train import distill

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard")
    save_model(tiny.model(num_layers=2), folder / "teacher")
    tiny.write_text(folder / "text.txt", documents=12)
    return folder


def run(folder, output, **train):
    values = tiny.run_settings(folder, output, **train)
    return distill(parse_config(DistillConfig, values), Console(quiet=True)).parent


@pytest.fixture(scope="module")
def asked(folder):
    """A run that writes all there is."""
    return run(folder, "asked", histogram_every=4, profile_steps=[3, 4])


def boards(run):
    """The runs that TensorBoard finds in a folder, as it reads them itself."""
    found = EventMultiplexer().AddRunsFromDirectory(str(run))
    found.Reload()
    return {name: found.GetAccumulator(name) for name in found.Runs()}


def summaries(run):
    """(step, run's name/tag) to plugin and value."""
    found = {}
    for name, board in boards(run / "tensorboard").items():
        for tag in board.Tags()["tensors"]:
            plugin = board.SummaryMetadata(tag).plugin_data.plugin_name
            for event in board.Tensors(tag):
                found[event.step, f"{name}/{tag}"] = plugin, tf.make_ndarray(event.tensor_proto)
    return found


def profiles(run):
    return sorted((run / "tensorboard" / "plugins").glob("profile/*/*.xplane.pb"))


def test_training_and_held_out_figures_of_one_name_are_in_one_chart(asked):
    """A chart has the runs that have its tag."""
    found = boards(asked)
    assert found.keys() == {"tensorboard/train", "tensorboard/validation"}
    train, held_out = (
        set(found[f"tensorboard/{kind}"].Tags()["tensors"]) for kind in ("train", "validation")
    )
    assert held_out <= train and {"loss", "mlm_accuracy", "teacher_agreement"} <= held_out


def test_every_figure_of_the_log_is_a_scalar_of_its_name(asked):
    lines = [json.loads(line) for line in (asked / "log.jsonl").read_text().splitlines()]
    wanted = {
        (line["step"], f"{line['kind']}/{name}"): value
        for line in lines
        for name, value in line.items()
        if name not in ("step", "kind", "time")
    }
    scalars = {
        key: float(v) for key, (plugin, v) in summaries(asked).items() if plugin == "scalars"
    }
    assert scalars.keys() == wanted.keys() and len(wanted) > 40
    np.testing.assert_allclose(
        [scalars[key] for key in wanted], list(wanted.values()), rtol=1e-6, atol=1e-9
    )


def test_histograms_are_of_the_weights_that_are_trained(asked):
    histograms = {k: v for k, (plugin, v) in summaries(asked).items() if plugin == "histograms"}
    assert {step for step, _ in histograms} == {0, 4, 6}
    student = load_model(asked / "model")
    weights = {v.path.partition("/")[2]: v.numpy() for v in student.trainable_variables}
    assert {tag for _, tag in histograms} == {f"train/weights/{name}" for name in weights}
    for name, weight in weights.items():
        buckets = histograms[6, f"train/weights/{name}"]  # left, right, count
        assert buckets[:, 2].sum() == weight.size
        assert buckets[:, 0].min() == pytest.approx(weight.min(), abs=1e-6)
        assert buckets[:, 1].max() == pytest.approx(weight.max(), abs=1e-6)


def test_the_profile_is_where_the_plugin_looks(asked):
    [trace] = profiles(asked)
    assert trace.stat().st_size > 1000


def test_nothing_of_it_is_there_unless_asked_for(folder):
    quiet = run(folder, "quiet", steps=2)
    assert {plugin for plugin, _ in summaries(quiet).values()} == {"scalars"}
    assert not (quiet / "tensorboard" / "plugins").exists()


def test_a_resumed_run_writes_each_histogram_once(folder, asked):
    """What lies beyond the checkpoint is dropped, and made again."""
    values = tiny.run_settings(
        folder, "asked", histogram_every=4, profile_steps=[3, 4], resume="auto"
    )
    before = summaries(asked)
    for name in ("model", "checkpoints/step-00000006"):
        for path in sorted((asked / name).iterdir()):
            path.unlink()
        (asked / name).rmdir()
    distill(parse_config(DistillConfig, values), Console(quiet=True))
    tags = [
        (event.step, f"{path.parent.name}/{value.tag}")
        for path in (asked / "tensorboard").glob("*/*.v2")
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        for event in [tf.compat.v1.Event.FromString(record)]
        for value in event.summary.value
    ]
    assert len(tags) == len(set(tags)) and set(tags) == before.keys()
    assert len(profiles(asked)) == 2  # the fourth step was made, and profiled, again


class Profiled(StepProfile):
    """Writes down what it would do."""

    def __init__(self, steps, first_step, at_once=1):
        super().__init__(Path("unused"), steps, first_step)
        self.set_model(type("Model", (), {"steps_per_execution": at_once})())
        self.done, self.at_once = [], at_once

    def start(self):
        self.active = True
        self.done.append("start")

    def stop(self):
        self.active = False
        self.done.append("stop")

    def train(self, number):
        for batch in range(0, number, self.at_once):
            self.on_train_batch_begin(batch)
            self.done.append(self.first_step + batch + self.at_once)
            self.on_train_batch_end(batch + self.at_once - 1)
        return self.done


def test_it_profiles_the_steps_asked_for_and_no_others():
    assert Profiled((2, 3), 0).train(5) == [1, "start", 2, 3, "stop", 4, 5]
    assert Profiled((1, 1), 0).train(2) == ["start", 1, "stop", 2]
    assert Profiled((2, 3), 2).train(2) == ["start", 3, "stop", 4]  # resumed within
    assert Profiled((2, 3), 3).train(2) == [4, 5]  # resumed beyond
    # Whole executions; Keras counts batches by the first one at the begin, by the last at the end.
    assert Profiled((4, 5), 0, at_once=3).train(9) == [3, "start", 6, "stop", 9]
    assert Profiled((3, 4), 0, at_once=3).train(9) == ["start", 3, 6, "stop", 9]


def test_an_error_leaves_no_profiler_at_work():
    profile = Profiled((1, 9), 0)
    with pytest.raises(ZeroDivisionError), profile:
        profile.train(1)
        _ = 1 / 0
    assert profile.done == ["start", 1, "stop"]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            {"profile_steps": [5]},
            r"train\.profile_steps is \[5\]; it must be two steps of the run, first",
        ),
        ({"profile_steps": [5, 4]}, r"train\.profile_steps is \[5, 4\]"),
        ({"profile_steps": [0, 4]}, r"train\.profile_steps is \[0, 4\]"),
        (
            {"profile_steps": [4, 7]},
            r"train\.profile_steps is \[4, 7\]; it must be two steps of the run",
        ),
        ({"histogram_every": 0}, r"train\.histogram_every is 0; it must be above 0, or null"),
        (
            {"histogram_every": 3, "steps_per_execution": 2, "log_every": 2, "validate_every": 2}
            | {"checkpoint_every": 2},
            r"train\.histogram_every is 3; it must be a multiple of",
        ),
    ],
)
def test_settings_that_cannot_be(folder, train, message):
    with pytest.raises(UserError, match=message):
        parse_config(DistillConfig, tiny.run_settings(folder, "refused", **train))


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX: pip install -e '.[jax]'"
)
@pytest.mark.slow
def test_on_jax_it_is_the_same(folder):
    values = tiny.run_settings(folder, "jax", steps=3, histogram_every=3, profile_steps=[2, 3])
    (folder / "jax.yaml").write_text(json.dumps(values))  # YAML, too
    done = subprocess.run(
        [sys.executable, "-m", "tf_distilbert", "distill", str(folder / "jax.yaml")],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = summaries(folder / "jax")
    assert {step for step, tag in found if tag.startswith("train/weights/")} == {0, 3}
    assert len(profiles(folder / "jax")) == 1
