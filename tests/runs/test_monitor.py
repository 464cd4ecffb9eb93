"""The monitor leaves the terminal as it was, also when training ends with an error."""

import io

import pytest
from rich.console import Console

from tf_distilbert.errors import UserError
from tf_distilbert.runs.checkpoints import Progress
from tf_distilbert.runs.logs import DamageLog, RunLog, read_log
from tf_distilbert.runs.monitor import Interruption, Monitor
from tf_distilbert.training.optimizer import WarmupThenDecay

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def make(folder, terminal):
    return Monitor(
        RunLog(folder, 0),
        DamageLog(folder, [], Console(quiet=True)),
        None,
        Console(file=terminal, force_terminal=True),
        Progress(),
        schedule=WarmupThenDecay(1.0, 0, 10),
        total_steps=10,
        log_every=1,
        validate_every=5,
        checkpoint_every=5,
        validate=None,
        max_skipped_updates=3,
        write_batch=lambda step: None,
        interruption=Interruption(),
        alone=True,
    )


def test_the_cursor_comes_back_after_an_error(tmp_path):
    terminal = io.StringIO()
    with pytest.raises(ZeroDivisionError), make(tmp_path, terminal):
        _ = 1 / 0
    shown = terminal.getvalue()
    assert shown.count(HIDE_CURSOR) == shown.count(SHOW_CURSOR) == 1


def test_the_log_drops_what_a_resumed_run_writes_again(tmp_path):
    for step in (1, 2, 3):
        RunLog(tmp_path, step).write(step, "train", {"loss": float(step)})
    (tmp_path / "log.jsonl").write_text((tmp_path / "log.jsonl").read_text() + '{"step": 4, "ki')
    RunLog(tmp_path, 2).write(3, "train", {"loss": 0.5})
    assert [(r["step"], r["loss"]) for r in read_log(tmp_path, "train")] == [
        (1, 1.0),
        (2, 2.0),
        (3, 0.5),
    ]


def test_a_log_is_read_up_to_where_it_is_torn(tmp_path):
    path = tmp_path / "log.jsonl"
    RunLog(tmp_path, 0).write(1, "train", {"loss": 1.0})
    whole = path.read_text()
    path.write_text(whole + '{"step": 2, "kind": "train", "lo')
    assert [report["step"] for report in read_log(tmp_path, "train")] == [1]
    path.write_text('{"step": 2, "ki\n' + whole)
    with pytest.raises(UserError, match=r"log\.jsonl: line 1 is broken"):
        read_log(tmp_path, "train")


def test_the_logged_rate_is_that_of_the_update_just_made(tmp_path):
    monitor = make(tmp_path, io.StringIO())
    signals = {"skipped_in_a_row": 0.0, "stop_requested": 0.0}
    model = type("Model", (), {"start_new_means": lambda self: None, "signals": signals})()
    monitor.set_model(model)
    with monitor:
        logs = {"skipped_updates": 0.0, "loss": 1.0, "tokens_per_second": 9.0}
        monitor.on_train_batch_end(0, logs)
    assert read_log(tmp_path, "train")[0]["learning_rate"] == 1.0
