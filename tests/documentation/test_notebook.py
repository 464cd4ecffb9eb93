"""The notebook: it is one, its cells compile and name what exists, and it runs on the sample."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import tf_distilbert

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "distilbert_in_colab.ipynb"
nbformat = pytest.importorskip("nbformat", reason="pip install 'tf_distilbert[notebook]'")


@pytest.fixture(scope="module")
def cells():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def codes(cells):
    """The Python of the code cells, without IPython's own lines."""
    return [re.sub("^[%!].*$", "", c.source, flags=re.M) for c in cells if c.cell_type == "code"]


def test_it_is_made_of_short_cells(cells):
    assert len(cells) > 15
    assert len({cell.id for cell in cells}) == len(cells)
    assert all(cell.source.strip() for cell in cells)
    longest = max(cells, key=lambda cell: len(cell.source.splitlines()))
    assert len(longest.source.splitlines()) < 65


def test_every_cell_compiles(cells):
    for code in codes(cells):
        compile(code, NOTEBOOK.name, "exec")


def test_what_it_takes_from_the_package_exists(cells):
    tree = ast.parse("\n".join(codes(cells)))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "td"
    }
    assert {"distill", "evaluate", "finetune", "export", "Predictor"} <= used
    assert used <= set(tf_distilbert.__all__)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tf_distilbert"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), node.module


def test_its_files_exist(cells):
    text = "\n".join(cell.source for cell in cells)
    assets = re.findall(r'asset\("(.+?)"\)', text)
    documents = re.findall(r"`(\w+\.md)`", text)
    assert len(assets) >= 3 and len(documents) >= 3
    for name in (*assets, *(f"docs/{name}" for name in documents)):
        assert (ROOT / name).exists(), name


def test_it_has_no_absolute_paths_and_no_errors(cells):
    for cell in cells:
        shown = [cell.source, *map(str, cell.get("outputs", []))]
        assert not re.search(r"""(^|[\s"'(=])/[a-z]+/""", "\n".join(shown)), cell.id
        assert all(output.output_type != "error" for output in cell.get("outputs", []))


def test_only_cells_without_a_network_have_outputs(cells):
    by_tag = {tag: [c for c in cells if tag in c.metadata.get("tags", [])] for tag in TAGS}
    assert len(by_tag["parameters"]) == 1 and len(by_tag["network"]) >= 4
    assert all(not cell.outputs for cell in by_tag["network"])


TAGS = ("parameters", "network")


@pytest.fixture
def run_notebook(monkeypatch):
    pytest.importorskip("nbclient", reason="pip install 'tf_distilbert[notebook]'")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module("run_notebook").run_notebook
    sys.modules.pop("run_notebook")


def test_a_parameter_that_it_does_not_have_is_refused(run_notebook, tmp_path):
    with pytest.raises(ValueError, match=r"STEP: no parameter of the notebook; it has .*STEPS"):
        run_notebook(NOTEBOOK, tmp_path, {"STEP": 4})


@pytest.mark.slow
def test_it_runs(run_notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = run_notebook(NOTEBOOK, tmp_path, {"STEPS": 8, "EPOCHS": 20})
    run = tmp_path / "runs" / "sample"
    assert "steps: 8\n" in (run / "config.yaml").read_text()
    assert tf_distilbert.load_model(run / "model").architecture.num_layers == 3
    predictor = tf_distilbert.Predictor(tmp_path / "exports" / "sentences")
    requests = [{"text": "A puppy is a young dog."}, {"text": "Paris is the capital of France."}]
    answers = [answer["label"] for answer in predictor.predict(requests)]
    assert answers == ["animal", "place"]  # learnt by heart
    tables = [
        output.data["text/markdown"]
        for cell in found.cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    ]
    assert len(tables) == 1 and "| layers | 6 | 3 |" in tables[0]
    skipped = [c for c in found.cells if "network" in c.metadata.get("tags", [])]
    assert all(cell.execution_count is None and not cell.outputs for cell in skipped)
    assert str(tmp_path) not in str(found) and "runs/sample/" in str(found)
    assert "INFO:" not in str(found)
    others = [c for c in found.cells if c.cell_type == "code" and c not in skipped]
    assert all(cell.execution_count for cell in others) and len(others) > 8
