"""What the README shows is so: its commands parse, its Python runs."""

import re
import shlex
from pathlib import Path

import pytest

from tf_distilbert.cli.grammar import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.startswith("tf-distilbert")
]
VERBS = ("quickstart", "vocab", "prepare", "pretrain", "distill", "evaluate", "fill-mask")


def test_it_shows_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_parse(command):
    options = parse(shlex.split(command)[1:])
    if "config" in options:
        assert (ROOT / options.config).exists()


@pytest.mark.slow
def test_its_python_runs(tmp_path, monkeypatch):
    [script] = [block for language, block in BLOCKS if language == "python"]
    lines = [line for line in script.splitlines() if line.strip()]
    assert len(lines) < 25
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved_models").mkdir()  # the export goes there, not into the checkout
    (tmp_path / "saved_models" / "sample_teacher").symlink_to(ROOT / "saved_models/sample_teacher")
    shorter = script.replace("num_steps=100", "num_steps=3")
    assert shorter != script
    exec(compile(shorter, "README.md", "exec"), {})
    assert (tmp_path / "student" / "model.safetensors").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_it_names_every_verb(verb):
    assert f"| `{verb}` |" in README


def test_the_two_commands_are_one_line_each():
    for name in ("quickstart", "tests"):
        block = re.search(rf"<!-- command: {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
        assert len(block[1].strip().splitlines()) == 1


def _shape(text):
    """Its headings' levels, its tables' sizes, its code without comments."""
    code = [
        [line.partition("#")[0].rstrip() for line in block.splitlines()]
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    rows = [line.count("|") for line in prose.splitlines() if line.startswith("|")]
    return re.findall(r"^#+", prose, re.MULTILINE), rows, code


def test_the_japanese_one_has_the_same_content():
    japanese = (ROOT / "README.ja.md").read_text(encoding="utf-8")
    assert _shape(japanese) == _shape(README)
    numbers = [sorted(re.findall(r"\d[\d.,]*\d", text)) for text in (README, japanese)]
    assert len(numbers[0]) > 100
    missing = set(numbers[0]) - set(numbers[1])
    assert missing == set(), "figures that the translation lacks"
