"""The tutorial can be followed to its end, word by word, but for fewer steps."""

import re
import shlex
from pathlib import Path

import pytest

from support.commands import run

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_it_can_be_followed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    verbs = []
    for language, block in BLOCKS:
        if language == "yaml":
            name = re.match(r"# (\w+\.yaml)\n", block)[1]
            Path(name).write_text(re.sub(r"steps: \d+", "steps: 4", block), "utf-8")
        elif language == "python":
            exec(compile(block, "docs/tutorial.md", "exec"), {})
        elif language == "sh" and "tf-distilbert" in block:
            for line in block.splitlines():
                words = shlex.split(line)
                assert words[0] == "tf-distilbert"
                verbs.append(words[1])
                assert run(*words[1:]) == 0
    assert verbs == ["vocab", "pretrain", "fill-mask", "distill", "evaluate", "export", "predict"]
    assert Path("saved_models/student/1/saved_model.pb").exists()
    assert len(Path("vocab.txt").read_text("utf-8").splitlines()) == 2600
    assert "retention" in capsys.readouterr().out
