"""What a run says of the records that it opens or prepares."""

import pytest

from support import tiny
from tf_distilbert.config.data import DataConfig
from tf_distilbert.data.prepare import prepare
from tf_distilbert.runs.records import find_records, load_records

FOREIGN = "paris is the capital of france and a city ; rome is old ;\n\n" * 20
UNKNOWN = (
    "warning: {}: 14.3% of the tokens are [UNK], which the vocabulary cannot spell; use a model"
)


@pytest.fixture
def foreign(tmp_path):
    (tmp_path / "foreign.txt").write_text(FOREIGN)
    return str(tmp_path / "foreign.txt")


def test_records_of_another_language_are_said(tmp_path, foreign, capsys):
    """Of the 14 tokens of a sequence 2 are semicolons, which the vocabulary has not."""
    prepare(foreign, tiny.tokenizer(), tmp_path / "made", sequence_length=16, progress=False)
    config = DataConfig(records=str(tmp_path / "made"), sequence_length=16)
    for progress in (True, False):
        load_records(config, tiny.tokenizer(), tmp_path, progress=progress)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == progress
        assert all(line.startswith(UNKNOWN.format(tmp_path / "made")) for line in lines)


def test_records_that_are_prepared_for_a_run(tmp_path, foreign, capsys):
    config = DataConfig(text=[foreign], sequence_length=16)
    for first in ("20 sequences, ", "already prepared, 20 sequences"):
        records, _ = load_records(config, tiny.tokenizer(), tmp_path)
        summary, warning = capsys.readouterr().err.splitlines()
        assert first in summary and warning.startswith(UNKNOWN.format(records.path))


def test_text_of_the_vocabulary_s_language(tmp_path, capsys):
    config = DataConfig(text=[str(tiny.write_text(tmp_path / "a.txt"))], sequence_length=16)
    load_records(config, tiny.tokenizer(), tmp_path)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_runs_side_by_side_share_what_is_prepared(tmp_path, capsys):
    text = str(tiny.write_text(tmp_path / "a.txt"))
    config = DataConfig(text=[text], validation=[text], sequence_length=16)
    folders = [tmp_path / "runs" / f"{name}-data" for name in ("teacher", "student")]
    theirs, ours = (load_records(config, tiny.tokenizer(), folder) for folder in folders)
    assert [records.path for records in ours] == [records.path for records in theirs]
    assert {records.path.parent for records in theirs} == {folders[0]}
    assert not folders[1].exists()
    assert find_records(config, tiny.tokenizer(), folders[1])[0].path == theirs[0].path
    lines = capsys.readouterr().err.splitlines()
    assert [": already prepared, " in line for line in lines] == [False, False, True, True]


@pytest.mark.parametrize("change", ["length", "text", "unfinished"])
def test_runs_share_nothing_that_is_not_the_same(tmp_path, change):
    path = tiny.write_text(tmp_path / "a.txt")
    folders = [tmp_path / "runs" / f"{name}-data" for name in ("teacher", "student")]

    def load(folder, length):
        config = DataConfig(text=[str(path)], sequence_length=length)
        return load_records(config, tiny.tokenizer(), folder, progress=False)[0].path

    theirs = load(folders[0], 16)
    if change == "text":
        path.write_text(path.read_text() * 2)
    elif change == "unfinished":
        (theirs / "manifest.json").unlink()
    assert load(folders[1], 32 if change == "length" else 16).parent == folders[1]
