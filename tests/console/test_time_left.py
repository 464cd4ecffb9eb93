"""How long an evaluation takes is said: on a terminal by a bar, elsewhere by some lines."""

import io

import pytest
from rich.console import Console

from support import tiny
from tf_distilbert.console import time_left
from tf_distilbert.console.lines import duration, say
from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.evaluation.masked_lm import evaluate


def console(terminal, width=40):
    return Console(file=io.StringIO(), force_terminal=terminal, width=width)


def shown(console):
    return console.file.getvalue()


def test_a_file_gets_a_line_at_the_beginning_and_now_and_then(monkeypatch):
    """Here a batch takes 4 s: 12 s are over after the third, when 7 are left."""
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(time_left.time, "perf_counter", lambda: next(clock))
    out = console(False)
    with TimeLeft(out, "evaluating sst2", 10) as progress:
        for _ in range(7):
            progress.advance()
    assert shown(out).splitlines() == [
        "evaluating sst2: 10 batches",
        "evaluating sst2: 3 of 10 batches, about 28 s left",
        "evaluating sst2: 6 of 10 batches, about 16 s left",
    ]


def test_what_nobody_can_count_is_not_in_a_file():
    out = console(False)
    with TimeLeft(out, "reading the text") as progress:
        progress.advance()
    assert shown(out) == ""


def test_a_terminal_gets_a_bar_that_is_gone_in_the_end():
    out = console(True, width=80)
    with TimeLeft(out, "evaluating [sst2]", 3) as progress:
        progress.advance()
        progress._bar.refresh()
        assert "evaluating [sst2]" in shown(out) and "1/3" in shown(out)
    assert shown(out).endswith("\x1b[2K")  # the line is erased


def test_without_a_console_nothing_is_shown(capfd):
    with TimeLeft(None, "evaluating", 2) as progress:
        progress.advance()
    assert capfd.readouterr() == ("", "")


def test_lines_break_at_spaces_on_a_terminal_and_nowhere_in_a_file():
    message = "the loss is not finite at step 3; lower train.learning_rate [or so]"
    terminal, file = console(True, width=30), console(False, width=30)
    say(terminal, message)
    say(file, message)
    assert shown(file) == message + "\n"
    lines = shown(terminal).splitlines()
    assert len(lines) > 1 and " ".join(line.strip() for line in lines) == message


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min")]
)
def test_times_duration(seconds, words):
    assert duration(seconds) == words


def test_an_evaluation_counts_the_batches_of_both_models_if_asked(tmp_path, capsys):
    text = str(tiny.write_text(tmp_path / "text.txt"))
    model = tiny.model(num_layers=1)
    figures = evaluate(model, text, model, sequence_length=32, batch_size=16)
    assert capsys.readouterr() == ("", "")
    again = evaluate(model, text, model, sequence_length=32, batch_size=16, progress=True)
    printed = capsys.readouterr()
    batches = 2 * -(-figures["sequences"] // 16)
    assert printed.out == "" and f"evaluating: {batches} batches\n" in printed.err
    assert again == figures


def test_no_message_names_the_folder_that_is_gone(tmp_path):
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(ValueError, match=r"text\.txt: no sequence is left .* that fits it$"):
        evaluate(tiny.model(num_layers=1), str(tmp_path / "text.txt"), sequence_length=32)
