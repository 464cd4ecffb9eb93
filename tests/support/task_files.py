"""Small files in the layouts of downstream tasks, for the tests of what reads them."""

import gzip
import json
import lzma

from tf_distilbert.finetuning.examples import QuestionExample

CONTEXT = "Paris is the capital of France . Rome  is the capital of Italy, an old city."


def write(path, *lines, encoding="utf-8"):
    """Write lines, packed as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "wb") as file:
        file.write("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def row(*values):
    return "\t".join(values)


def answer(context, text, shift=0):
    return {"text": text, "answer_start": context.index(text) + shift}


def squad_question(name, context, *answers, shift=0, **others):
    """A question in SQuAD's JSON; `shift` puts its answers in the wrong place."""
    made = [answer(context, text, shift) for text in answers]
    return {"id": name, "question": f"What is {name}?", "answers": made, **others}


def squad_file(path, context, *questions):
    path.parent.mkdir(parents=True, exist_ok=True)
    paragraph = {"context": context, "qas": list(questions)}
    content = {"version": "x", "data": [{"title": "Title", "paragraphs": [paragraph]}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def question(text="what is rome ?", context=CONTEXT, *answers, name="q", impossible=False):
    starts = tuple(context.index(answer) for answer in answers)
    return QuestionExample(name, text, context, "", answers, starts, impossible)
