"""Run a notebook's cells without those that need a network, and write it with what they gave.

    python tools/run_notebook.py notebooks/distilbert_in_colab.ipynb --set STEPS=4 --output FILE

It runs in a temporary folder, which is removed. Cells with the tag ``network`` are skipped; a
``--set`` holds from after the cell with the tag ``parameters``. Needs the extra ``notebook``.
"""

import argparse
import ast
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

SKIPPED, PARAMETERS = "network", "parameters"


def run_notebook(path: Path, folder: Path, parameters: Mapping[str, Any]) -> NotebookNode:
    """Run a notebook.

    Args:
        path: the notebook; it is not changed.
        folder: where it runs.
        parameters: name to value, in the place of those of the notebook.

    Returns:
        The notebook with its outputs, in which files of `folder` have relative paths; skipped cells
        have none.

    Raises:
        CellExecutionError: a cell fails.
        ValueError: the notebook has no such parameter.
    """
    notebook = nbformat.read(path, as_version=4)
    _check(notebook, parameters)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    given = nbformat.v4.new_code_cell("\n".join(lines))
    place = next(i for i, cell in enumerate(notebook.cells) if PARAMETERS in _tags(cell))
    notebook.cells.insert(place + 1, given)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        skip_cells_with_tag=SKIPPED,
        record_timing=False,
    )
    client.execute()
    notebook.cells.remove(given)
    return nbformat.reads(nbformat.writes(notebook).replace(f"{folder}/", ""), as_version=4)


def _check(notebook: NotebookNode, parameters: Mapping[str, Any]) -> None:
    cells = [cell for cell in notebook.cells if PARAMETERS in _tags(cell)]
    lines = [line for cell in cells for line in ast.parse(cell.source).body]
    known = {line.targets[0].id for line in lines if isinstance(line, ast.Assign)}
    for name in parameters.keys() - known:
        raise ValueError(f"{name}: no parameter of the notebook; it has {', '.join(sorted(known))}")


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def main() -> None:
    """Run the notebook of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="may be the notebook itself")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    pairs = (setting.partition("=") for setting in options.set)
    parameters = {name: ast.literal_eval(value) for name, _, value in pairs}
    with tempfile.TemporaryDirectory() as folder:
        notebook = run_notebook(options.notebook, Path(folder), parameters)
    nbformat.write(notebook, options.output)


if __name__ == "__main__":
    main()
