"""What comes before a training: each verb calls one function, and prints what it found."""

import argparse
from functools import partial

from tf_distilbert.errors import UserError
from tf_distilbert.training.runtime import start_keras


def _vocab(options: argparse.Namespace) -> None:
    start_keras()
    from tf_distilbert.data.vocabulary import learn_vocabulary

    tokens = learn_vocabulary(
        options.text, options.size, options.output, lower_case=not options.cased
    )
    print(f"{options.output}: {len(tokens):,} tokens")


def _prepare(options: argparse.Namespace) -> None:
    if options.tokenizer and options.cased:
        raise UserError("--cased goes with --vocab; the folder of --tokenizer says it itself")
    by_beam = options.runner == "beam"
    if options.passed_on and not by_beam:
        raise UserError(f"{options.passed_on[0]}: what follows `--` goes with --runner beam")
    if options.workers is not None and by_beam:
        raise UserError(
            "--workers goes with --runner local; Beam's own options follow `--`, for example "
            f"-- --direct_num_workers={options.workers}"
        )
    if options.rows != "blocks" and by_beam:
        raise UserError("--rows texts goes with --runner local, which sees what came before")
    start_keras()
    from tf_distilbert.data.beam import prepare_with_beam
    from tf_distilbert.data.prepare import prepare
    from tf_distilbert.model_files.folder import load_tokenizer
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

    if options.tokenizer:
        tokenizer = load_tokenizer(options.tokenizer)
    else:
        tokenizer = WordPieceTokenizer.from_file(options.vocab, lower_case=not options.cased)
    run = (
        partial(prepare_with_beam, beam_options=options.passed_on)
        if by_beam
        else partial(prepare, workers=options.workers, rows=options.rows)
    )
    run(
        options.text,
        tokenizer,
        options.output,
        sequence_length=options.sequence_length,
        cross_documents=options.cross_documents,
        invalid_utf8=options.invalid_utf8,
    )


def _trim(options: argparse.Namespace) -> None:
    start_keras()
    from tf_distilbert.evaluation.trimming import trim

    names = ("size", "min_count", "task", "held_out")
    found = trim(
        options.model,
        options.text,
        options.output,
        progress=True,
        **{name: getattr(options, name) for name in names},
    )
    print(f"{options.output}:\n{found.as_text()}")


def _shapes(options: argparse.Namespace) -> None:
    start_keras()
    from tf_distilbert.benchmark.shapes import as_markdown, candidate_shapes

    length = options.sequence_length
    print(as_markdown(candidate_shapes(options.teacher, length), length))


PREPARATION_VERBS = {
    "vocab": _vocab,
    "prepare": _prepare,
    "trim": _trim,
    "shapes": _shapes,
}
"""What the command line can do before a training, by name."""
