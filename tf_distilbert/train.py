"""The two jobs that make a model: distil a student from a teacher, pretrain a teacher.

Both read as the same story: open the run, load what is learnt from, build what learns, train,
save. A run that was stopped goes on by itself: the data is a function of the step's number, and
a checkpoint holds all the rest.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from tf_distilbert import runtime
from tf_distilbert.architecture import Architecture
from tf_distilbert.config import DistillConfig, PretrainConfig, TrainConfig
from tf_distilbert.data.records import Records
from tf_distilbert.distiller import Distiller
from tf_distilbert.logs import read_log
from tf_distilbert.masked_language_model import MaskedLanguageModel
from tf_distilbert.masked_lm_data import masked_lm_data
from tf_distilbert.model_folder import load_model, save_model
from tf_distilbert.pretrainer import MaskedLMPretrainer
from tf_distilbert.provenance import write_provenance
from tf_distilbert.run_data import load_data, load_or_learn_vocabulary
from tf_distilbert.run_directory import RunDirectory
from tf_distilbert.run_loop import train_to_the_end
from tf_distilbert.strategy import (
    Strategy,
    chief_first,
    explain_lost_workers,
    is_chief,
    make_strategy,
    num_replicas,
)
from tf_distilbert.student import build_student
from tf_distilbert.tokenization.tokenizer import Tokenizer


@runtime.kept_precision()
def distill(config: DistillConfig, console: Console | None = None) -> Path:
    """Distil a student from a teacher.

    Args:
        config: everything; see `load_config`.
        console: where progress is shown, by default stderr.

    Returns:
        The folder of the finished student.

    Raises:
        UserError: teacher, text, settings or output are at fault; or the loss is not finite.
        Interrupted: a signal came; everything is saved.
    """
    strategy, console, run = _open(config, console)
    with explain_lost_workers(strategy):
        with strategy.scope():
            teacher = load_model(config.teacher)
            teacher.check_length(config.data.sequence_length)
            if config.data.packing:
                teacher.check_packing()
            student = build_student(teacher, **asdict(config.student))
            distiller = Distiller(
                teacher, student, **_splitting(config.train, strategy), **asdict(config.loss)
            )
        del teacher  # the distiller may hold it in fewer bytes
        records, held_out = _load_data(config, student.tokenizer, run, strategy)
        data = masked_lm_data(distiller, records, held_out, config)
        train_to_the_end(distiller, data, config.train, run, console)
        return _finish(student, config, run, strategy, console)


@runtime.kept_precision()
def pretrain(config: PretrainConfig, console: Console | None = None) -> Path:
    """Train a BERT from scratch by masked language modelling alone.

    Args:
        config: everything; see `load_config`.
        console: where progress is shown, by default stderr.

    Returns:
        The folder of the finished model.

    Raises:
        UserError: text, settings or output are at fault; or the loss is not finite.
        Interrupted: a signal came; everything is saved.
    """
    strategy, console, run = _open(config, console)
    with explain_lost_workers(strategy):
        tokenizer = chief_first(strategy, lambda: load_or_learn_vocabulary(config.data, run.data))
        records, held_out = _load_data(config, tokenizer, run, strategy)
        architecture = Architecture(len(tokenizer.vocabulary), **asdict(config.model))
        with strategy.scope():
            model = MaskedLanguageModel(architecture, tokenizer)
            _start_from_frequencies(model, records)
            trainer = MaskedLMPretrainer(model, **_splitting(config.train, strategy))
        data = masked_lm_data(trainer, records, held_out, config)
        train_to_the_end(trainer, data, config.train, run, console)
        return _finish(model, config, run, strategy, console)


def _open(
    config: DistillConfig | PretrainConfig, console: Console | None
) -> tuple[Strategy, Console, RunDirectory]:
    """Connect the devices, before anything is computed, and see whether the run may start."""
    with runtime.quiet_start():
        strategy = make_strategy(config.train.strategy)
    console = console or Console(stderr=True)
    if not is_chief(strategy):
        console = Console(quiet=True)
    run = RunDirectory(config.output)
    run.check(config)
    runtime.set_precision_and_seed(config.train.precision, config.train.seed)
    return strategy, console, run


def _splitting(config: TrainConfig, strategy: Strategy) -> dict[str, int]:
    micro_batches = config.micro_batches(num_replicas(strategy))
    return {"micro_batches": micro_batches, "seed": config.seed % 2**31}


def _load_data(
    config: DistillConfig | PretrainConfig,
    tokenizer: Tokenizer,
    run: RunDirectory,
    strategy: Strategy,
) -> tuple[Records, Records | None]:
    """Load or prepare the data, then begin to write the run."""
    chief = is_chief(strategy)

    def load() -> tuple[Records, Records | None]:
        records = load_data(config.data, tokenizer, run.data, progress=chief)
        if chief:
            run.create(config)
        return records

    return chief_first(strategy, load)


def _finish(
    model: MaskedLanguageModel,
    config: DistillConfig | PretrainConfig,
    run: RunDirectory,
    strategy: Strategy,
    console: Console,
) -> Path:
    def save() -> None:
        if is_chief(strategy):
            save_model(model, run.model, overwrite=True)
            verb = "distill" if isinstance(config, DistillConfig) else "pretrain"
            validations = read_log(run.path, "validation")
            last = validations[-1] if validations else None
            write_provenance(run.model, verb, asdict(config), last)

    chief_first(strategy, save)
    console.print(f"the model is in {run.model}", markup=False, soft_wrap=True)
    return run.model


def _start_from_frequencies(model: MaskedLanguageModel, records: Records) -> None:
    """Let the untrained model predict words by frequency, which it would learn first anyway."""
    counts = records.token_counts + 1.0
    model.head.output_bias.assign(np.log(counts / counts.sum()))
