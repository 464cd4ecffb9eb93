"""Type checkers know the public names, in a checkout and in an installed package."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tf_distilbert

ROOT = Path(__file__).parent.parent
SCRIPT = """\
import tf_distilbert as td
from tf_distilbert import Distiller, load_model

teacher = load_model("saved_models/sample_teacher")
student = td.build_student(teacher, num_layers="three")
distiller = Distiller(teacher, student, temperature="warm")
distiller.compile(td.AdamW(5e-4, clip_norm=5.0))
folder, found = td.export("student", "saved_model")
print(found.largest_difference + 1.0)
td.no_such_name
"""


def names_for_type_checkers():
    """The module of each public name, as the imports say that only type checkers read."""
    tree = ast.parse((ROOT / "tf_distilbert" / "__init__.py").read_text("utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.asname: node.module.removeprefix("tf_distilbert.")
        for node in block.body
        for alias in node.names
        if alias.name == alias.asname
    }


def test_type_checkers_see_what_is_there_when_it_runs():
    assert names_for_type_checkers() == tf_distilbert._HOME


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "tf_distilbert" / "py.typed").exists()
    assert '"tf_distilbert": ["py.typed"]' in (ROOT / "setup.py").read_text("utf-8")


@pytest.mark.slow
def test_mypy_finds_the_mistakes_of_a_script(tmp_path):
    """TF_DISTILBERT_PYTHON names an environment that the package is installed in, as CI does."""
    pytest.importorskip("mypy")
    (tmp_path / "script.py").write_text(SCRIPT, "utf-8")
    environment = dict(os.environ)
    python = environment.get("TF_DISTILBERT_PYTHON")
    if python is None:
        environment["MYPYPATH"], python = str(ROOT), sys.executable
    command = [sys.executable, "-m", "mypy", f"--python-executable={python}", "script.py"]
    command += ["--ignore-missing-imports", "--hide-error-context", "--no-error-summary"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    lines = [line for line in run.stdout.splitlines() if ": error: " in line]
    assert [line.split(":")[:2] for line in lines] == [
        ["script.py", "5"],
        ["script.py", "6"],
        ["script.py", "10"],
    ], run.stdout + run.stderr
    assert '"num_layers" to "build_student" has incompatible type "str"' in lines[0]
    assert '"temperature" to "Distiller" has incompatible type "str"; expected "float"' in lines[1]
    assert 'Module has no attribute "no_such_name"' in lines[2]
