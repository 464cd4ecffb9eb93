"""The monitor leaves the terminal as it was, also when training ends with an error."""

import io
import re

import pytest
from rich.console import Console

from tf_distilbert.errors import UserError
from tf_distilbert.runs import monitor as monitor_module
from tf_distilbert.runs.checkpoints import Progress
from tf_distilbert.runs.logs import DamageLog, RunLog, read_log
from tf_distilbert.runs.monitor import Interruption, Monitor
from tf_distilbert.training.optimizer import WarmupThenDecay

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def make(folder, terminal, is_terminal=True, total_steps=10, log_every=1):
    return Monitor(
        RunLog(folder, 0),
        DamageLog(folder, [], Console(quiet=True)),
        type("Checkpoints", (), {"save": lambda self, progress: None})(),
        Console(file=terminal, force_terminal=is_terminal, width=100),
        Progress(),
        schedule=WarmupThenDecay(1.0, 0, total_steps),
        total_steps=total_steps,
        log_every=log_every,
        validate_every=total_steps // 2,
        checkpoint_every=total_steps + 1,
        validate=None,
        max_skipped_updates=30,
        write_batch=lambda step: None,
        interruption=Interruption(),
        alone=True,
    )


def train(monitor, batches, **logs):
    """Let the monitor see batches whose logs are these."""
    signals = {"skipped_in_a_row": 0.0, "stop_requested": 0.0}
    members = {"start_new_means": lambda self: None, "signals": signals}
    monitor.set_model(type("Model", (), members)())
    for batch in batches:
        found = {"skipped_updates": 0.0, "loss": 1.5, "tokens_per_second": 9.0} | logs
        monitor.on_train_batch_end(batch, found)


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
    with monitor:
        train(monitor, [0])
    assert read_log(tmp_path, "train")[0]["learning_rate"] == 1.0


def test_the_bar_has_figures_from_the_first_step_on(tmp_path):
    terminal = io.StringIO()
    monitor = make(tmp_path, terminal, log_every=5)
    with monitor:
        train(monitor, [0], loss=2.25)
    assert re.search(r" 1/10\S* loss 2\.2500  9 tokens/s", terminal.getvalue())
    assert read_log(tmp_path, "train") == []


def test_lines_come_after_ten_steps_then_with_each_report(tmp_path, monkeypatch):
    """A step takes 2 s, the first one 100."""
    seconds = iter([100.0 + 2 * step for step in range(1000)])
    monkeypatch.setattr(monitor_module.time, "monotonic", lambda: next(seconds))
    console = io.StringIO()
    monitor = make(tmp_path, console, is_terminal=False, total_steps=400, log_every=100)
    with monitor:
        train(monitor, range(400))
    assert [line.rstrip() for line in console.getvalue().splitlines()] == [
        "step 10/400  loss 1.5000  9 tokens/s  13 min left",
        "step 100/400  loss 1.5000  9 tokens/s  10 min left",
        "step 200/400  loss 1.5000  9 tokens/s  7 min left",
        "step 300/400  loss 1.5000  9 tokens/s  3 min left",
        "step 400/400  loss 1.5000  9 tokens/s",
    ]
    assert [report["step"] for report in read_log(tmp_path, "train")] == [100, 200, 300, 400]


def test_a_window_without_an_update_has_no_loss(tmp_path):
    console = io.StringIO()
    monitor = make(tmp_path, console, is_terminal=False)
    with monitor:
        train(monitor, [0], loss=0.0, tokens_per_second=0.0)
        train(monitor, [1])
    assert console.getvalue().startswith("step 1/10  loss - (updates skipped)  0 tokens/s")
    skipped, made = read_log(tmp_path, "train")
    assert "loss" not in skipped and "tokens_per_second" not in skipped
    assert skipped["skipped_updates"] == 0.0 and made["loss"] == 1.5
