"""What a run writes down and says of the sequences that it skipped."""

import io
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tf_distilbert.data.shard_files import DamagedSequence, DamagedSequences
from tf_distilbert.errors import UserError
from tf_distilbert.runs.logs import DamageLog


def sequence(record, path="/data/records-00003.tfrecord", reason="its checksum differs"):
    return DamagedSequence(Path(path), record, 100 * record + 16, reason)


def found(*records):
    sequences = DamagedSequences()
    for record in records:
        sequences.add(sequence(record))
    return sequences


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=40)


def said(console):
    return console.file.getvalue()


def lines(folder):
    return [
        json.loads(line) for line in (folder / "damaged.jsonl").read_text().splitlines() if line
    ]


def test_each_sequence_is_written_once_and_the_first_is_told(tmp_path, console):
    train, held_out = DamagedSequences(), DamagedSequences()
    log = DamageLog(tmp_path, [train, held_out], console)
    assert (log.note(), log.count, log.summary()) == (0, 0, None)
    assert not list(tmp_path.iterdir()) and not said(console)
    train.add(sequence(2))
    train.add(sequence(2, reason="the file ends before it does"))
    assert log.note() == log.note() == log.count == 1
    held_out.add(sequence(2))  # parts of the same records
    held_out.add(sequence(5, path="/data/records-00004.tfrecord"))
    train.add(sequence(3))
    assert log.count == 1
    assert log.note() == 3
    assert lines(tmp_path) == [
        {
            "path": f"/data/records-0000{shard}.tfrecord",
            "record": record,
            "offset": 100 * record + 16,
            "reason": "its checksum differs",
        }
        for shard, record in ((3, 2), (3, 3), (4, 5))
    ]
    assert said(console).splitlines() == [
        "/data/records-00003.tfrecord: record 2 at byte 216 is damaged (its checksum differs); it "
        f"is skipped, as are all such; {tmp_path / 'damaged.jsonl'} names them"
    ]


def test_the_summary_counts_what_was_not_noted_yet(tmp_path, console):
    damaged = found(1)
    log = DamageLog(tmp_path, [damaged], console)
    assert log.summary() == (
        f"1 damaged sequence was skipped; {tmp_path / 'damaged.jsonl'} names it"
    )
    for record in range(2, 1500):
        damaged.add(sequence(record))
    assert log.summary() == (
        f"1,499 damaged sequences were skipped; {tmp_path / 'damaged.jsonl'} names them"
    )
    assert len(lines(tmp_path)) == 1499


def test_a_resumed_run_goes_on_counting(tmp_path, console, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = DamagedSequences()
    first.add(sequence(1, path="records/records-00000.tfrecord"))
    DamageLog(tmp_path, [first], console).note()
    told = said(console)
    again = DamagedSequences()
    again.add(sequence(1, path=f"{tmp_path}/records/records-00000.tfrecord"))
    again.add(sequence(4, path=f"{tmp_path}/records/records-00000.tfrecord"))
    log = DamageLog(tmp_path, [again], console)
    assert log.count == 1
    assert log.note() == 2
    assert [line["record"] for line in lines(tmp_path)] == [1, 4]
    assert said(console) == told


@pytest.mark.parametrize(
    "torn", [b'{"path": "/data/rec', b"\xff\xfe", b"[1, 2]\n", b"{}\n", b"7\n", b"\n"]
)
def test_torn_lines_cost_nothing_but_themselves(tmp_path, console, torn):
    DamageLog(tmp_path, [found(1)], console).note()
    with open(tmp_path / "damaged.jsonl", "ab") as file:
        file.write(torn)
    log = DamageLog(tmp_path, [found(1, 2, 3)], console)
    assert log.note() == 3
    assert DamageLog(tmp_path, [], console).count == 3
    content = (tmp_path / "damaged.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["record"] for line in (content[0], *content[-2:])] == [1, 2, 3]


def test_several_processes_write_to_one_file(tmp_path, console):
    """Two of them find 0 to 299 and 200 to 499, in turns; this one reads while they write."""
    program = """
import sys
from pathlib import Path
from rich.console import Console
from tf_distilbert.runs.logs import DamageLog
from tf_distilbert.data.shard_files import DamagedSequence, DamagedSequences
folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
damaged = DamagedSequences()
log = DamageLog(folder, [damaged], Console(quiet=True))
print("ready", flush=True)
sys.stdin.readline()
for record in range(first, last):
    damaged.add(DamagedSequence(Path("/data/records-00003.tfrecord"), record, 9, "x" * 2000))
    if record % 3 == 0:
        log.note()
print(log.note())
"""
    log = DamageLog(tmp_path, [], console)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(first), str(last)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first, last in ((0, 300), (200, 500))
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    counts = []
    while any(worker.poll() is None for worker in workers):
        counts.append(log.count)
    finals = [int(worker.communicate()[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert counts == sorted(counts)
    assert max(finals) == log.count == log.note() == 500
    assert "record 0 at byte 9" in said(console) or "record 200 at byte 9" in said(console)
    content = lines(tmp_path)  # every line is whole; two that end a torn one leave an empty one
    assert {line["record"] for line in content} == set(range(500))
    assert len(content) <= 600


def test_a_disk_that_is_full(tmp_path, console):
    log = DamageLog(tmp_path, [found(*range(50))], console)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # stands in for a full disk
    try:
        with pytest.raises(UserError, match=r"damaged\.jsonl: cannot be written \("):
            log.note()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.note() == 50
    assert DamageLog(tmp_path, [], console).count == 50
