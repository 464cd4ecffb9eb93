"""CoNLL's files: a word a line, its label at the line's end, a blank line between sentences."""

from collections.abc import Iterator
from pathlib import Path

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.text_file import read_lines

CONLL_ENDINGS = (".conll", ".txt")

_DOCUMENT = "-DOCSTART-"

Sentence = tuple[int, list[str], list[str] | None]


def read_sentences(path: Path) -> Iterator[Sentence]:
    """Read sentences.

    Columns are divided by spaces or tabs; the first one is the word, the last one the label, what
    is between is left out. In a file of one column there are no labels. Lines of ``-DOCSTART-``
    are left out.

    Args:
        path: of the file; may be packed.

    Returns:
        Of each sentence the number of its first line, its words, a line each, and its labels (or
        None).

    Raises:
        UserError: a line has a word without a label, or a label, unlike the lines before it.
    """
    number = 0
    words: list[str] = []
    labels: list[str] = []
    labelled: bool | None = None
    for line_number, line in read_lines(path):
        columns = line.split()
        if not columns or columns[0] == _DOCUMENT:
            if words:
                yield number, words, labels if labelled else None
            words, labels = [], []
            continue
        if labelled is None:
            labelled = len(columns) > 1
        if labelled != (len(columns) > 1):
            has, others = ("a label", "none") if not labelled else ("no label", "one")
            raise UserError(
                f"{path}: line {line_number} has {has} where the lines before it have {others}; "
                "write a word and its label a line"
            )
        if not words:
            number = line_number
        words.append(columns[0])
        labels.append(columns[-1])
    if words:
        yield number, words, labels if labelled else None
