"""The tree keeps the shape that makes it readable: imports go downwards, files stay small."""

import ast
import re
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tf_distilbert"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the top down; a package imports from those below it alone.
PACKAGES = (
    *("cli", "report", "benchmark", "demo", "quickstart", "finetuning", "exports", "evaluation"),
    *("runs", "distillation", "data", "training", "serving", "model_files", "config", "models"),
    *("tokenization", "losses", "backend", "sample", "console", "atomic_writes", "json_file"),
    *("assets", "errors", "version"),
)
RANK = {name: rank for rank, name in enumerate(reversed(PACKAGES))}

# What opens the package, and may name anything.
DOORS = {"__init__", "__main__"}

MOST_LINES = 350


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES if module_name(path) not in DOORS}


def imports(path, guarded=True):
    """Names of our modules that a file imports, at its top or inside functions.

    Without `guarded`, those under an `if` at the top are left out: types, and the choice of a
    backend.
    """
    tree = ast.parse(path.read_text())
    skipped = {id(x) for n in tree.body if isinstance(n, ast.If) for x in ast.walk(n)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (guarded or id(node) not in skipped):
            continue
        if not (node.module or "").startswith("tf_distilbert"):
            continue
        module = node.module.removeprefix("tf_distilbert").lstrip(".")
        for alias in node.names:
            full = f"{module}.{alias.name}".lstrip(".")
            yield full if full in MODULES else module


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_package_imports_from_those_below_it(name):
    own = name.split(".")[0]
    assert own in RANK, f"{own} has no place in PACKAGES"
    for imported in imports(MODULES[name]):
        other = imported.split(".")[0]
        if other not in ("", own):
            assert RANK[other] < RANK[own], f"{name} imports {imported}"


def test_the_files_of_a_package_import_each_other_in_no_circle():
    inside = defaultdict(set)
    for name, path in MODULES.items():
        for imported in imports(path):
            # The module that opens a package is asked for its parts' names; see `backend`.
            if imported.split(".")[0] == name.split(".")[0] and imported in MODULES:
                inside[name].add(imported)
    assert list(TopologicalSorter(inside).static_order())


def test_nothing_but_the_command_line_imports_the_benchmark():
    users = {name.split(".")[0] for name in MODULES for i in imports(MODULES[name]) if "bench" in i}
    assert users == {"cli", "benchmark"}


@pytest.mark.parametrize("name", sorted(n for n in MODULES if not n.startswith("backend")))
def test_the_backend_is_chosen_in_one_place(name):
    """What differs by backend has one name there; what may ask does so to explain or to refuse."""
    may_ask = {"training.runtime", "exports.prediction", "model_files.provenance"}
    asks = "backend.backend()" in MODULES[name].read_text()
    assert not asks or name in may_ask or name.startswith("benchmark.")


@pytest.mark.parametrize("name", ["training.trainer", "losses.per_token", "models.task_models"])
def test_the_training_core_names_no_backend(name):
    """Neither there nor in what it imports, but for the types of arguments."""
    seen, waiting = {"backend"}, [name]
    while waiting:
        path = MODULES[waiting.pop()]
        tree = ast.parse(path.read_text())
        guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
        skipped = {id(x) for n in guarded for x in ast.walk(n)}
        nodes = [n for n in ast.walk(tree) if id(n) not in skipped]
        names = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
        names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
        assert not [imported for imported in names if imported.startswith("tensorflow")], path
        ours = set(imports(path, guarded=False)) & MODULES.keys()
        waiting += ours - seen
        seen |= ours


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_stay_small(path):
    tables = path.name.startswith("facts_")
    assert len(path.read_text().splitlines()) <= (360 if tables else MOST_LINES)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("*.py")), ids=lambda p: p.name)
def test_test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_the_root_holds_what_opens_the_package_and_what_all_stand_on():
    assert len([path for path in FILES if path.parent == PACKAGE]) <= 8


def test_tests_have_the_folders_of_the_package():
    packages = {path.parent.name for path in FILES if path.name == "__init__.py"}
    for path in Path(__file__).parent.rglob("test_*.py"):
        folder = path.relative_to(Path(__file__).parent).parts[0]
        assert folder in packages | {"tools", "documentation", path.name}, path


def test_every_package_says_what_lives_there():
    for path in FILES:
        if path.name == "__init__.py" and path.parent.parent == PACKAGE:
            text = ast.get_docstring(ast.parse(path.read_text()))
            assert len(re.findall(r"[.:;](\s|$)", text)) >= 2 and "import" in text, path


def test_settings_stop_at_the_functions_that_begin_a_job():
    """A loss or a layer takes plain arguments."""

    def takes_settings(path):
        return any(i.startswith("config.") and i != "config.file" for i in imports(path))

    users = {name for name, path in MODULES.items() if takes_settings(path)}
    assert {name for name in users if not name.startswith("config.")} <= {
        *("cli.verbs", "cli.grammar", "quickstart", "report.run", "report.run_models"),
        *("runs.train", "runs.loop", "runs.records", "runs.directory", "runs.batches", "runs.job"),
        "runs.student_start",
        *("finetuning.finetune", "finetuning.batches", "finetuning.retention", "finetuning.trials"),
        *("finetuning.retention_plan", "finetuning.variants"),
    }
