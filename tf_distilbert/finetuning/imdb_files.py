"""IMDb's reviews: the folders of aclImdb, or a table."""

from pathlib import Path

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.data_folder import find_file
from tf_distilbert.finetuning.example import TextExample
from tf_distilbert.finetuning.labels import label_number, label_numbers
from tf_distilbert.finetuning.table_file import read_table
from tf_distilbert.finetuning.task_table import Task

_FOLDERS = ("neg", "pos")


def read_imdb(task: Task, folder: Path, split: str) -> list[TextExample]:
    """Read a split.

    Either of ``train/neg/0_3.txt`` and so on, a review each, the negative ones first and all in
    the order of their numbers, or of ``train.tsv`` or ``imdb_train.tsv`` (packed or not) with the
    columns ``id``, ``label`` (0 negative, 1 positive) and ``text``.

    Raises:
        UserError: neither is there, a column is missing, a label is none of the two, a review is
            not UTF-8.
    """
    if (folder / split).is_dir():
        return _read_folders(folder / split)
    table = read_table(find_file(folder, (f"{split}.tsv", f"imdb_{split}.tsv")))
    table.require((*task.texts, task.label))
    numbers = label_numbers(task)
    examples = []
    for count, (line, row) in enumerate(table.rows):
        label = label_number(row[task.label], numbers, f"{table.path}: line {line}")
        texts = tuple(row[name] for name in task.texts)
        examples.append(TextExample(row.get(task.id, str(count)), texts, label))
    return examples


def _read_folders(folder: Path) -> list[TextExample]:
    examples = []
    for label, name in enumerate(_FOLDERS):
        paths = (folder / name).glob("*_*.txt")
        for path in sorted(paths, key=lambda path: (len(path.stem.split("_")[0]), path.stem)):
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}: is not UTF-8 (byte {error.start + 1}); convert the file"
                ) from None
            examples.append(TextExample(f"{name}/{path.stem}", (text,), label))
    return examples
