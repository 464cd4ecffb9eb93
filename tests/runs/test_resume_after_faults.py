"""What a kill may leave behind, put there by hand: a resumed run ends as if nothing had been."""

import json
from collections import Counter

import pytest
import tensorflow as tf
from rich.console import Console
from tensorflow.core.util.event_pb2 import Event
from test_train import settings

from support import tiny
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import UserError
from tf_distilbert.runs.checkpoints import Checkpoints, Progress
from tf_distilbert.runs.directory import RunDirectory
from tf_distilbert.runs.logs import RunLog, read_log
from tf_distilbert.runs.train import distill


def lines(folder):
    found = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [(line["step"], line["kind"]) for line in found]


def scalars(folder):
    found = Counter()
    for path in (folder / "tensorboard").glob("*/*tfevents*"):
        kind = path.parent.name
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = Event.FromString(record)
            found.update((event.step, f"{kind}/{value.tag}") for value in event.summary.value)
    return found


def test_a_report_is_on_the_disk_before_the_next_step(tmp_path):
    log = RunLog(tmp_path, 0)
    log.write(1, "train", {"loss": 2.0})
    assert scalars(tmp_path) == {(1, "train/loss"): 1}


@pytest.mark.parametrize("step", [0, 3])
def test_a_validation_made_again_is_logged_once(tmp_path, step):
    for _ in range(2):
        with RunLog(tmp_path, step, validates_first=True) as log:
            log.write(step, "validation", {"loss": 2.0})
    assert lines(tmp_path) == [(step, "validation")]
    assert scalars(tmp_path) == {(step, "validation/loss"): 1}


def test_a_validation_that_is_not_made_again_stays(tmp_path):
    with RunLog(tmp_path, 0) as log:
        log.write(3, "train", {"loss": 3.0})
        log.write(3, "validation", {"loss": 2.0})
        log.write(4, "train", {"loss": 2.0})
    RunLog(tmp_path, 3)
    assert lines(tmp_path) == [(3, "train"), (3, "validation")]
    assert scalars(tmp_path) == {(3, "train/loss"): 1, (3, "validation/loss"): 1}


BROKEN = {
    "torn": b'{"step": 2, "kind": "tra',
    "torn, with a brace at its end": b'{"step": 2, "kind}',
    "another line in it": b'{"step": 2, {"step": 2, "kind": "train"}',
    "a list": b"[1, 2]",
    "a number": b"7",
    "text": b'"step kind"',
    "nothing": b"",
    "no kind": b'{"step": 2, "loss": 1.0}',
    "no step": b'{"kind": "train", "loss": 1.0}',
    "a step in words": b'{"step": "two", "kind": "train"}',
    "a kind that is none": b'{"step": 2, "kind": ["train"]}',
    "no UTF-8": b'{"step": 2, "kind": "train", "\xff\xfe": 1.0}',
    "zeros, as a lost page": bytes(40),
    "very deep": b"[" * 100_000,
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_line_costs_nothing_but_itself(tmp_path, broken):
    with RunLog(tmp_path, 0) as log:
        for step in (1, 3, 4):
            log.write(step, "train", {"loss": float(step)})
    path = tmp_path / "log.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, broken, b"\n", *others]))
    with pytest.raises(UserError, match=rf"{path}: line 2 is broken; remove it$"):
        read_log(tmp_path, "train")
    said = []
    assert [report["step"] for report in read_log(tmp_path, "train", said.append)] == [1, 3, 4]
    RunLog(tmp_path, 3, said.append)
    assert said == [f"{path}: line 2 is broken; it is left out"] * 2
    assert path.read_bytes() == first + others[0]
    # It is said once: now the log is whole.
    RunLog(tmp_path, 3, pytest.fail)
    assert [report["step"] for report in read_log(tmp_path, "train")] == [1, 3]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_end_that_is_torn_is_no_news(tmp_path, broken):
    with RunLog(tmp_path, 0) as log:
        log.write(1, "train", {"loss": 1.0})
    path = tmp_path / "log.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + broken)
    assert [report["step"] for report in read_log(tmp_path, "train")] == [1]
    RunLog(tmp_path, 1, pytest.fail)
    assert path.read_bytes() == whole


def test_a_run_killed_before_its_first_checkpoint_has_no_double_line(tmp_path):
    from tf_distilbert.model_files.folder import save_model

    save_model(tiny.model(), tmp_path / "teacher")
    tiny.write_text(tmp_path / "text.txt")
    values = settings(tmp_path, "run", steps=1, resume="auto")
    config = parse_config(DistillConfig, values)
    run = RunDirectory(tmp_path / "run")
    run.create(config)
    with RunLog(run.path, 0) as log:
        log.write(0, "validation", {"loss": 2.0})
    distill(config, Console(quiet=True))
    assert lines(run.path) == [(0, "validation"), (1, "train"), (1, "validation")]
    assert set(scalars(run.path).values()) == {1}


def test_a_run_killed_while_it_first_wrote_its_configuration_goes_on(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    (run.path / "config.yaml.partial").write_text("teach")
    run.check(parse_config(DistillConfig, settings(tmp_path, "run", resume="auto")))


class Trainer:
    """As much of a trainer as a checkpoint saves."""

    seed = 1
    variables = saved_metrics = ()

    class optimizer:
        variables = ()

    def settle(self):
        """All is there."""


def test_damaged_checkpoints_push_no_good_one_out(tmp_path):
    checkpoints = Checkpoints(tmp_path, Trainer(), data="", batch_size=1, keep=1)
    (tmp_path / "step-00000009").mkdir(parents=True)
    for step in (1, 2):
        checkpoints.save(Progress(step))
    assert [path.name for path in checkpoints.saved()] == ["step-00000002", "step-00000009"]
