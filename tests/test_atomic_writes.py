"""Files and folders that are there whole or not at all."""

import errno
import os

import pytest
from safetensors import SafetensorError

from tf_distilbert import atomic_writes
from tf_distilbert.atomic_writes import whole_folder, write_atomically
from tf_distilbert.errors import UserError


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(path, text):
    with whole_folder(path) as folder:
        (folder / "a.txt").write_text(text)


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with whole_folder(tmp_path / "deep" / "model") as folder:
        (folder / "a.txt").write_text("a")
        assert not (tmp_path / "deep" / "model").exists()
    assert content(tmp_path / "deep" / "model") == {"a.txt": "a"}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    fill(tmp_path / "model", "old")
    (tmp_path / "model" / "b.txt").write_text("b")
    fill(tmp_path / "model", "new")
    assert content(tmp_path / "model") == {"a.txt": "new"}
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space\nleft")]
)
def test_what_was_there_stays_when_writing_fails(tmp_path, error):
    fill(tmp_path / "model", "old")
    message = r"model: cannot be written \(No space left"
    with (
        pytest.raises(UserError, match=message) as caught,
        whole_folder(tmp_path / "model") as folder,
    ):
        (folder / "a.txt").write_text("ne")
        raise error
    assert "\n" not in str(caught.value)
    assert content(tmp_path / "model") == {"a.txt": "old"}
    assert os.listdir(tmp_path) == ["model"]


def test_other_errors_pass_and_leave_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "model"):
        _ = 1 / 0
    assert os.listdir(tmp_path) == []


def test_what_an_earlier_kill_left_is_cleared(tmp_path):
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "torn.txt").write_text("to")
    fill(tmp_path / "model", "a")
    assert content(tmp_path / "model") == {"a.txt": "a"}


def test_a_file_keeps_its_old_content_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(atomic_writes.os, "fsync", fail)
    with pytest.raises(UserError, match=r"file\.txt: cannot be written \(Input/output error\)"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
