"""The command line: parse, call one function, print what it found.

Every verb's function is imported when the verb runs, so that ``--help`` costs no TensorFlow.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``tf-distilbert``.

    Args:
        arguments: what follows the program's name; ``sys.argv`` by default.

    Returns:
        The exit code: 0, 2 for what the user can mend, 130 for Ctrl-C.
    """
    options = parse(arguments)
    try:
        options.run(options)
    except UserError as error:
        if options.debug:
            raise
        print(f"tf-distilbert: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if options.debug:
            raise
        print("tf-distilbert: stopped", file=sys.stderr)
        return 130
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; ends the process with exit code 2 where it is no such line."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse gives a list of positionals once: overrides that follow a flag are left over.
    if "overrides" in options and all("=" in word and word[0] != "-" for word in rest):
        options.overrides += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tf-distilbert",
        description="Distil a BERT or RoBERTa into a student of half its depth.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = _verb(verbs, "quickstart", _quickstart, "distil the sample teacher that comes along")
    verb.add_argument("--output", default="quickstart", metavar="DIR", help="default: %(default)s")
    _add_resume(verb)

    verb = _verb(verbs, "vocab", _vocab, "learn a WordPiece vocabulary from text")
    _add_text(verb)
    verb.add_argument("--size", required=True, type=int, metavar="N", help="number of tokens")
    verb.add_argument("--output", required=True, metavar="FILE", help="the vocab.txt to write")
    verb.add_argument("--cased", action="store_true", help="keep case and accents")

    verb = _verb(verbs, "prepare", _prepare, "turn text into shards of token sequences")
    _add_text(verb)
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
        "--cross-documents", action="store_true", help="let a sequence span several documents"
    )
    verb.add_argument(
        "--invalid-utf8",
        choices=("skip", "refuse"),
        default="skip",
        help="what to do with lines that are not UTF-8; default: %(default)s",
    )

    for name, run, what in (
        ("pretrain", _pretrain, "train a BERT teacher from scratch"),
        ("distill", _distill, "distil a student from a teacher"),
    ):
        verb = _verb(verbs, name, run, what)
        verb.add_argument("config", metavar="CONFIG", help="a YAML file, see configs/")
        verb.add_argument(
            "overrides", nargs="*", metavar="key=value", help="e.g. train.steps=100 teacher=DIR"
        )
        _add_resume(verb)

    verb = _verb(verbs, "evaluate", _evaluate, "measure a model on held-out text")
    _add_model(verb)
    _add_text(verb)
    verb.add_argument("--teacher", metavar="DIR", help="compare with this model")
    verb.add_argument("--json", metavar="FILE", help="write the figures here too")
    verb.add_argument(
        "--sequence-length", type=int, default=128, metavar="N", help="default: %(default)s"
    )
    verb.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="default: %(default)s"
    )
    verb.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the masks; default: %(default)s"
    )

    verb = _verb(verbs, "export", _export, "write a model in another format")
    _add_model(verb)
    verb.add_argument("--format", required=True, choices=("keras_nlp",), help="a keras-nlp preset")
    verb.add_argument("--output", required=True, metavar="DIR", help="a new folder")

    verb = _verb(verbs, "benchmark", _benchmark, "time this and its peers side by side")
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

    verb = _verb(verbs, "fill-mask", _fill_mask, "predict the words at [MASK] (RoBERTa: <mask>)")
    _add_model(verb)
    verb.add_argument("--top-k", type=int, default=5, metavar="K", help="default: %(default)s")
    verb.add_argument("text", nargs="+", metavar="TEXT", help='e.g. "Paris is in [MASK]."')
    return parser


def _verb(
    verbs: argparse._SubParsersAction, name: str, run: object, what: str
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verb.set_defaults(run=run)
    return verb


def _add_model(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a model folder, hf://OWNER/NAME[@REVISION] or keras_nlp://NAME",
    )


def _add_text(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--text",
        required=True,
        nargs="+",
        metavar="PATH",
        help=".txt or .jsonl, plain, .gz or .xz; globs; tfds:NAME; sample:train, sample:validation",
    )


def _add_resume(verb: argparse.ArgumentParser) -> None:
    group = verb.add_mutually_exclusive_group()
    for flag, value, what in (
        ("--resume", "auto", "go on with the run that is there, if any"),
        ("--overwrite", "overwrite", "delete the run that is there"),
    ):
        group.add_argument(flag, dest="resume", action="store_const", const=value, help=what)


def _quickstart(options: argparse.Namespace) -> None:
    _start_tensorflow()
    from tf_distilbert.quickstart import quickstart

    quickstart(options.output, resume=options.resume or "never")


def _vocab(options: argparse.Namespace) -> None:
    _start_tensorflow()
    from tf_distilbert.data.vocabulary import learn_vocabulary

    tokens = learn_vocabulary(
        options.text, options.size, options.output, lower_case=not options.cased
    )
    print(f"{options.output}: {len(tokens):,} tokens")


def _prepare(options: argparse.Namespace) -> None:
    if options.tokenizer and options.cased:
        raise UserError("--cased goes with --vocab; the folder of --tokenizer says it itself")
    _start_tensorflow()
    from tf_distilbert.data.prepare import prepare
    from tf_distilbert.model_folder import load_tokenizer
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

    if options.tokenizer:
        tokenizer = load_tokenizer(options.tokenizer)
    else:
        tokenizer = WordPieceTokenizer.from_file(options.vocab, lower_case=not options.cased)
    prepare(
        options.text,
        tokenizer,
        options.output,
        sequence_length=options.sequence_length,
        workers=options.workers,
        cross_documents=options.cross_documents,
        invalid_utf8=options.invalid_utf8,
    )


def _pretrain(options: argparse.Namespace) -> None:
    from tf_distilbert.config import PretrainConfig
    from tf_distilbert.config_file import load_config

    config = load_config(PretrainConfig, options.config, _overrides(options))
    _start_tensorflow()
    from tf_distilbert.train import pretrain

    pretrain(config)


def _distill(options: argparse.Namespace) -> None:
    from tf_distilbert.config import DistillConfig
    from tf_distilbert.config_file import load_config

    config = load_config(DistillConfig, options.config, _overrides(options))
    _start_tensorflow()
    from tf_distilbert.train import distill

    distill(config)


def _overrides(options: argparse.Namespace) -> list[str]:
    resume = [f"train.resume={options.resume}"] if options.resume else []
    return [*options.overrides, *resume]


def _evaluate(options: argparse.Namespace) -> None:
    if options.json and (Path(options.json).is_dir() or not Path(options.json).parent.is_dir()):
        raise UserError(f"{options.json}: cannot be written; give a file in a folder that exists")
    _start_tensorflow()
    from tf_distilbert.evaluation import evaluate
    from tf_distilbert.model_folder import load_model

    figures = evaluate(
        load_model(options.model),
        options.text,
        load_model(options.teacher) if options.teacher else None,
        sequence_length=options.sequence_length,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    for name, value in figures.items():
        print(f"{name:20} {value:,}" if isinstance(value, int) else f"{name:20} {value:.6f}")
    if options.json:
        with explain_write_errors(Path(options.json)):  # in place: it may be /dev/stdout
            Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _export(options: argparse.Namespace) -> None:
    _start_tensorflow()
    from tf_distilbert.keras_nlp_export import export_keras_nlp
    from tf_distilbert.model_folder import load_model

    export_keras_nlp(load_model(options.model), Path(options.output))
    print(f"{options.output}: a keras-nlp preset")


def _benchmark(options: argparse.Namespace) -> None:
    from tf_distilbert.benchmark.kinds import run_benchmark

    names = ("quick", "json_path", "only", "batch_size", "sequence_length", "rounds", "text")
    names += ("vocabulary", "step_tokens_per_second")
    run_benchmark(options.kind, **{name: getattr(options, name) for name in names})


def _fill_mask(options: argparse.Namespace) -> None:
    if options.top_k < 1:
        raise UserError(f"--top-k is {options.top_k}; give 1 or more")
    _start_tensorflow()
    from tf_distilbert.mask_filling import fill_mask
    from tf_distilbert.model_folder import load_model

    answers = fill_mask(load_model(options.model), options.text, options.top_k)
    for text, blanks in zip(options.text, answers, strict=True):
        print(text)
        for guesses in blanks:
            print("   " + "  ".join(f"{guess.token} {guess.probability:.3f}" for guess in guesses))


def _start_tensorflow() -> None:
    from tf_distilbert.runtime import import_tensorflow

    import_tensorflow()
