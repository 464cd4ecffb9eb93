"""The verbs that come before a training: vocabulary, records, a smaller teacher, which student."""

import argparse

from tf_distilbert.cli.parser import add_task, add_text, add_verb


def add_preparation_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add ``vocab``, ``prepare``, ``trim`` and ``shapes`` with their options."""
    verb = add_verb(verbs, "vocab", "learn a WordPiece vocabulary from text")
    add_text(verb)
    verb.add_argument("--size", required=True, type=int, metavar="N", help="number of tokens")
    verb.add_argument("--output", required=True, metavar="FILE", help="the vocab.txt to write")
    verb.add_argument("--cased", action="store_true", help="keep case and accents")

    verb = add_verb(verbs, "prepare", "turn text into shards of token sequences")
    add_text(verb)
    group = verb.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--tokenizer", metavar="DIR", help="the teacher, in any form that --model takes"
    )
    group.add_argument("--vocab", metavar="FILE", help="or its vocab.txt alone")
    verb.add_argument("--output", required=True, metavar="DIR", help="folder for the shards")
    verb.add_argument(
        "--sequence-length", type=int, default=512, metavar="N", help="tokens; default: %(default)s"
    )
    verb.add_argument("--cased", action="store_true", help="the vocab.txt is cased")
    verb.add_argument(
        "--workers", type=int, metavar="N", help="threads; default: one a core, at most 8"
    )
    verb.add_argument(
        "--runner",
        choices=("local", "beam"),
        default="local",
        help="local, or beam: an Apache Beam pipeline, whose options follow after --; default: "
        "%(default)s",
    )
    verb.add_argument(
        "--rows",
        choices=("blocks", "texts"),
        default="blocks",
        help="what a sequence is: a block of connected text; or a text, each line once, as "
        "sentence encoders are compared on; default: %(default)s",
    )
    verb.add_argument(
        "--cross-documents", action="store_true", help="let a sequence span several documents"
    )
    verb.add_argument(
        "--invalid-utf8",
        choices=("skip", "refuse"),
        default="skip",
        help="what to do with lines that are not UTF-8; default: %(default)s",
    )

    verb = add_verb(verbs, "trim", "cut a model's vocabulary to what a text needs")
    verb.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a model folder, or hf://OWNER/NAME[@REVISION]",
    )
    add_task(verb)
    add_text(verb)
    group = verb.add_mutually_exclusive_group(required=True)
    group.add_argument("--size", type=int, metavar="N", help="keep the N commonest tokens")
    group.add_argument(
        "--min-count", type=int, metavar="C", help="or those that occur C times in the text"
    )
    verb.add_argument(
        "--held-out", nargs="+", metavar="PATH", help="text to measure on, before and after"
    )
    verb.add_argument("--output", required=True, metavar="DIR", help="the model folder to write")

    verb = add_verb(verbs, "shapes", "show students that a teacher may have, before any training")
    verb.add_argument(
        "--teacher", required=True, metavar="DIR", help="in any form that --model takes"
    )
    verb.add_argument(
        "--sequence-length",
        type=int,
        default=128,
        metavar="N",
        help="tokens of a text; default: %(default)s",
    )
