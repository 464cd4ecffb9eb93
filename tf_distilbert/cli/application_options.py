"""The verbs for a trained model: to look at what it has learnt, to time it, to use it elsewhere."""

import argparse

from tf_distilbert.cli.parser import add_model, add_task, add_verb

FORMATS = ("saved_model", "litert", "onnx", "openvino", "keras_nlp")
"""What ``export --format`` takes."""


def add_application_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add ``report``, ``export``, ``predict``, ``benchmark``, ``fill-mask``, ``demo``."""
    verb = add_verb(verbs, "report", "write what runs did into one HTML file")
    verb.add_argument(
        "run", nargs="+", metavar="RUN_DIR", help="a run directory, or what retention wrote"
    )
    verb.add_argument(
        "--output",
        metavar="FILE",
        help="default: report.html, of one run in its directory, of several here",
    )

    verb = add_verb(verbs, "export", "write a model for servers, phones, other runtimes")
    add_model(verb)
    verb.add_argument("--format", required=True, help=f"one of {', '.join(FORMATS)}")
    verb.add_argument(
        "--output", metavar="DIR", help="a new folder; of saved_model by default saved_models/"
    )
    add_task(verb)
    verb.add_argument(
        "--precision",
        default="float32",
        metavar="P",
        help="float32, bfloat16 (saved_model), float16 (litert), int8 (litert, onnx), full_int8 "
        "(litert); default: %(default)s",
    )
    verb.add_argument("--name", help="of a saved_model, for the server; default: the folder's")
    verb.add_argument(
        "--version", type=int, default=1, metavar="N", help="of a saved_model; default: %(default)s"
    )
    verb.add_argument(
        "--long-texts",
        metavar="HOW",
        help="cut, or window: read all of it; default: window for question answering, else cut",
    )
    verb.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="tokens read at once; default: all positions, of litert 128",
    )
    verb.add_argument(
        "--top-k", type=int, default=5, metavar="K", help="words at a mask; default: %(default)s"
    )
    verb.add_argument(
        "--batching",
        type=int,
        nargs="?",
        const=32,
        metavar="N",
        help="write a file for the server that lets it put up to N texts together",
    )
    verb.add_argument(
        "--calibration", nargs="+", metavar="PATH", help="text for full_int8, as prepare takes it"
    )

    verb = add_verb(verbs, "predict", "answer texts with a model folder or an export")
    verb.add_argument("--model", required=True, metavar="DIR", help="a model folder or an export")
    add_task(verb)
    verb.add_argument("--question", metavar="TEXT", help="of question answering")
    verb.add_argument("--text-pair", metavar="TEXT", help="the second text of a pair")
    verb.add_argument(
        "text",
        nargs="*",
        metavar="TEXT",
        help="default: standard input, a text or a JSON object in each line",
    )

    verb = add_verb(verbs, "benchmark", "time this and its peers side by side")
    verb.add_argument("kind", choices=("step", "inference", "input", "memory"))
    verb.add_argument("--quick", action="store_true", help="less of everything")
    verb.add_argument("--json", dest="json_path", metavar="FILE", help="write everything here too")
    verb.add_argument("--only", nargs="+", metavar="NAME", help="these competitors")
    for flag, kind, metavar, what in (
        ("--batch-size", int, "N", "sequences in a batch"),
        ("--sequence-length", int, "N", "tokens in a sequence"),
        ("--rounds", int, "N", "turns of each competitor"),
        ("--text", str, "FILE", "of input; default: the sample corpus"),
        ("--vocabulary", str, "FILE", "of input: an uncased vocab.txt"),
        ("--step-tokens-per-second", float, "X", "of input: compare with this, not with our step"),
    ):
        verb.add_argument(flag, type=kind, metavar=metavar, help=what)

    verb = add_verb(verbs, "fill-mask", "predict the words at [MASK] (RoBERTa: <mask>)")
    add_model(verb)
    verb.add_argument("--top-k", type=int, default=5, metavar="K", help="default: %(default)s")
    verb.add_argument("text", nargs="+", metavar="TEXT", help='e.g. "Paris is in [MASK]."')

    verb = add_verb(verbs, "demo", "show on a local page what teacher and student answer")
    for who in ("teacher", "student"):
        verb.add_argument(
            f"--{who}", required=True, metavar="DIR", help="a model folder or an export"
        )
    add_task(verb)
    verb.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to listen at; 0.0.0.0 lets other machines in; default: %(default)s",
    )
    verb.add_argument("--port", type=int, default=7860, metavar="N", help="default: %(default)s")
