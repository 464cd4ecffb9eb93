"""The command line: help without TensorFlow, verbs that print what they found."""

import json
import subprocess
import sys

import pytest

from support import tiny
from tf_distilbert.cli.main import main
from tf_distilbert.model_files.folder import save_model

VERBS = ("quickstart", "vocab", "prepare", "pretrain", "distill", "evaluate", "fill-mask")
VERBS += ("report", "demo")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_imports_neither_tensorflow_nor_numpy(verb):
    code = (
        "import sys\n"
        "from tf_distilbert.cli.main import main\n"
        "try:\n"
        f"    main({[verb, '--help'] if verb else ['--help']})\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'tokenizers', 'gradio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "usage: tf-distilbert" in result.stdout


def test_the_package_itself_imports_no_tensorflow():
    code = "import sys, tf_distilbert; assert 'tensorflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_all_public_names_resolve():
    import tf_distilbert

    for name in tf_distilbert.__all__:
        assert getattr(tf_distilbert, name).__doc__ or name == "__version__"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tf_distilbert.nonsense


def test_python_m_runs_the_command_line():
    result = subprocess.run(
        [sys.executable, "-m", "tf_distilbert", "--version"], capture_output=True, text=True
    )
    assert result.returncode == 0 and result.stdout.strip()


def test_vocab_then_prepare(tmp_path, capsys):
    text = tiny.write_text(tmp_path / "text.txt")
    vocabulary, records = tmp_path / "vocab.txt", tmp_path / "records"
    assert main(f"vocab --text {text} --size 60 --output {vocabulary}".split()) == 0
    assert capsys.readouterr().out == f"{vocabulary}: 60 tokens\n"
    command = f"prepare --text {text} --vocab {vocabulary} --output {records}"
    assert main([*command.split(), "--sequence-length", "32"]) == 0
    manifest = json.loads((records / "manifest.json").read_text())
    assert manifest["vocabulary_size"] == 60 and manifest["sequence_length"] == 32


def test_evaluate_prints_and_writes_its_figures(tmp_path, capsys):
    save_model(tiny.model(), tmp_path / "model")
    text = tiny.write_text(tmp_path / "text.txt")
    command = f"evaluate --model {tmp_path}/model --teacher {tmp_path}/model --text {text}"
    options = f"--sequence-length 32 --json {tmp_path}/figures.json"
    assert main([*command.split(), *options.split()]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["agreement"] == 1.0 and figures["sequences"] > 10
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert printed.keys() == figures.keys()
    assert float(printed["loss"]) == pytest.approx(figures["loss"], abs=1e-6)


def test_fill_mask_prints_each_blank(tmp_path, capsys):
    save_model(tiny.model(), tmp_path / "model")
    command = ["fill-mask", "--model", str(tmp_path / "model"), "--top-k", "2"]
    assert main([*command, "paris is [MASK] the [MASK]", "[MASK]"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("   ") for line in lines] == [False, True, True, False, True]
    assert all(len(line.split()) == 4 for line in lines if line.startswith("   "))
