"""The settings of a run: frozen dataclasses that hold the defaults and refuse what cannot be.

`config_file` fills them. Nothing below the entry functions (`train`, ...) ever sees them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tf_distilbert.architecture import Architecture
from tf_distilbert.errors import UserError

BACKENDS = ("tensorflow", "jax")
STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")


@dataclass(frozen=True)
class StudentConfig:
    """What student is built from the teacher; see `build_student`."""

    num_layers: int | None = None
    layer_map: list[int] | None = None
    fold_segments: bool = True
    initialize_from: str = "teacher"

    def __post_init__(self) -> None:
        _choice("student.initialize_from", self.initialize_from, ("teacher", "random"))
        if self.num_layers and self.layer_map and len(self.layer_map) != self.num_layers:
            raise UserError(
                f"student.layer_map has {len(self.layer_map)} entries for {self.num_layers} "
                "student layers; give one teacher layer for each"
            )


@dataclass(frozen=True)
class ModelConfig:
    """The teacher that `pretrain` makes from scratch; see `Architecture`."""

    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.1
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        try:
            Architecture(vocabulary_size=1, **asdict(self))
        except UserError as error:
            raise UserError(f"model.{error}") from None


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens are predicted; see `TokenMasker`."""

    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    smoothing: float = 0.0
    whole_word: bool = False

    def __post_init__(self) -> None:
        _check(0 < self.rate < 1, "data.masking.rate", self.rate, "a share between 0 and 1")
        shares = (self.mask_share, self.random_share)
        _check(
            min(shares) >= 0 and sum(shares) <= 1 + 1e-9,
            "data.masking.mask_share and random_share",
            shares,
            "shares that add up to 1 at most",
        )
        _check(self.smoothing >= 0, "data.masking.smoothing", self.smoothing, "0 or more")


@dataclass(frozen=True)
class DataConfig:
    """Where the text comes from: `text` or prepared `records`; what is held out, likewise or by
    `validation_share`.

    Attributes:
        text: files, globs, ``tfds:NAME`` or ``sample:train``; prepared once, cached beside the run.
        records: folder made by ``tf-distilbert prepare``.
        validation: held-out text, in the same forms as `text`.
        validation_records: held-out records.
        validation_share: this share of the sequences is held out instead, in blocks from all over
            the text.
        vocabulary: a ``vocab.txt``, or a number: learn that many tokens from `text`. Needed by
            `pretrain` alone; a student has its teacher's.
        lower_case: whether a vocabulary given by `vocabulary` is uncased.
        sequence_length: tokens in a sequence, [CLS] and [SEP] included.
        packing: let short sequences share a row, each seeing itself alone; a batch then counts
            rows. Less padding, the same objective.
        workers: threads that prepare text; one a core by default, at most 8.
        invalid_utf8: ``skip`` and count lines that are not UTF-8, or ``refuse`` them.
        on_corrupt: at a prepared sequence that is damaged on disk stop with an ``error``, or
            ``skip`` it: its place stays empty, so that all others come as they would have.
    """

    text: list[str] = field(default_factory=list)
    records: str | None = None
    validation: list[str] = field(default_factory=list)
    validation_records: str | None = None
    validation_share: float = 0.0
    vocabulary: str | int | None = None
    lower_case: bool = True
    sequence_length: int = 512
    packing: bool = False
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    workers: int | None = None
    invalid_utf8: str = "skip"
    on_corrupt: str = "error"

    def __post_init__(self) -> None:
        for text, records in (("text", "records"), ("validation", "validation_records")):
            if getattr(self, text) and getattr(self, records):
                raise UserError(
                    f"data.{text} and data.{records} are both given; keep one of them "
                    f"(data.{text}=[] or data.{records}=null takes one back)"
                )
        if self.validation_share and (self.validation or self.validation_records):
            raise UserError(
                "data.validation_share and held-out text are both given; keep one of them "
                "(data.validation_share=0 takes it back)"
            )
        share, workers = self.validation_share, self.workers
        _check(0 <= share < 1, "data.validation_share", share, "in [0, 1)")
        if not self.text and not self.records:
            raise UserError("data.text is missing; give files of text, or data.records")
        _check(workers is None or workers > 0, "data.workers", workers, "above 0, or null")
        _choice("data.invalid_utf8", self.invalid_utf8, ("skip", "refuse"))
        _choice("data.on_corrupt", self.on_corrupt, ("error", "skip"))
        _check(self.sequence_length >= 16, "data.sequence_length", self.sequence_length, ">= 16")


@dataclass(frozen=True)
class LossConfig:
    """The objective; see `Distiller`."""

    temperature: float = 2.0
    distillation_weight: float = 5.0
    mlm_weight: float = 2.0
    cosine_weight: float = 1.0
    mse_weight: float = 0.0
    distillation_positions: str = "all"
    chunk_size: int = 512

    def __post_init__(self) -> None:
        _check(self.temperature > 0, "loss.temperature", self.temperature, "above 0")
        _choice("loss.distillation_positions", self.distillation_positions, ("all", "masked"))
        weights = {name: value for name, value in asdict(self).items() if name.endswith("_weight")}
        for name, value in weights.items():
            _check(value >= 0, f"loss.{name}", value, "0 or more")
        _check(self.chunk_size > 0, "loss.chunk_size", self.chunk_size, "above 0")
        if not any(weights.values()):
            raise UserError("all weights under loss are 0; there is nothing to learn")


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train. The duration is one of `steps`, `epochs` and `tokens`.

    Attributes:
        steps: optimizer updates; `resolve_steps` derives it from `epochs` or `tokens`.
        global_batch_size: sequences in an update.
        micro_batch_size: sequences that are in memory of a device at a time; by default all that
            it has of a batch.
        learning_rate: the peak.
        warmup_share: share of all updates in which the rate rises; then it falls linearly to 0.
        clip_norm: largest L2 norm of the gradient; null for none.
        precision: ``float32``, ``mixed_bfloat16`` (float32 master weights), or ``auto``: the
            latter where the device has instructions for it.
        backend: what Keras runs on, ``tensorflow`` or ``jax``; null leaves it to the environment
            variable KERAS_BACKEND. It is chosen as Keras is imported: a script sets that variable.
        strategy: which devices train together: ``auto``, ``one``, ``mirrored``, ``multi_worker`` or
            ``tpu``; see `make_strategy`.
        steps_per_execution: steps that the device makes in one go, before anything is logged,
            validated, saved or stopped.
        max_skipped_updates: an update whose loss or gradient is not finite is skipped; after so
            many in a row the run ends.
        jit_compile: compile the step with XLA; null leaves it to Keras (GPU and TPU: yes).
        resume: ``never`` refuses an existing run, ``auto`` goes on with it if there is one,
            ``overwrite`` deletes it.
        log_every, validate_every, checkpoint_every: in updates.
        histogram_every: in updates; TensorBoard gets a histogram of each weight. null: never.
        profile_steps: the first and the last step that are profiled, for TensorBoard. null: none.
        validation_batch_size: sequences at a time in validation.
        keep_checkpoints: how many of the newest are kept, beside the one of lowest held-out loss.
    """

    steps: int | None = None
    epochs: float | None = None
    tokens: int | None = None
    global_batch_size: int = 256
    micro_batch_size: int | None = None
    learning_rate: float = 5e-4
    warmup_share: float = 0.05
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-6
    weight_decay: float = 0.0
    clip_norm: float | None = 5.0
    precision: str = "auto"
    backend: str | None = None
    strategy: str = "auto"
    steps_per_execution: int = 1
    max_skipped_updates: int = 10
    jit_compile: bool | None = None
    seed: int = 56
    resume: str = "never"
    log_every: int = 50
    validate_every: int = 1000
    validation_batch_size: int = 8
    checkpoint_every: int = 1000
    histogram_every: int | None = None
    profile_steps: list[int] | None = None
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        durations = [name for name in ("steps", "epochs", "tokens") if getattr(self, name)]
        if len(durations) != 1:
            given = " and ".join(f"train.{name}" for name in durations) or "none of them"
            raise UserError(
                f"give one of train.steps, train.epochs, train.tokens; given: {given} "
                "(train.epochs=null takes one back)"
            )
        positive = ["global_batch_size", "learning_rate", "log_every", "validate_every"]
        positive += ["checkpoint_every", "keep_checkpoints", "epsilon", "validation_batch_size"]
        positive += ["steps_per_execution", "max_skipped_updates"]
        for name in (*durations, *positive):
            _check(getattr(self, name) > 0, f"train.{name}", getattr(self, name), "above 0")
        for name in ("micro_batch_size", "clip_norm", "histogram_every"):
            value = getattr(self, name)
            _check(value is None or value > 0, f"train.{name}", value, "above 0, or null")
        for name in ("warmup_share", "beta_1", "beta_2"):
            _check(0 <= getattr(self, name) < 1, f"train.{name}", getattr(self, name), "in [0, 1)")
        _check(0 <= self.seed < 2**32, "train.seed", self.seed, "in [0, 2^32)")
        _check(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "0 or more")
        _choice("train.precision", self.precision, ("auto", "float32", "mixed_bfloat16"))
        _choice("train.backend", self.backend, (None, *BACKENDS))
        _choice("train.strategy", self.strategy, STRATEGIES)
        _choice("train.resume", self.resume, ("never", "auto", "overwrite"))
        self.micro_batches()
        first, *last = steps = self.profile_steps or [1, 1]
        in_order = len(last) == 1 and 0 < first <= last[0] <= (self.steps or last[0])
        _check(in_order, "train.profile_steps", steps, "two steps of the run, first and last")
        for name in ("steps", "log_every", "validate_every", "checkpoint_every", "histogram_every"):
            number, at_once = getattr(self, name) or 0, self.steps_per_execution
            wanted = f"a multiple of train.steps_per_execution, {at_once}"
            _check(number % at_once == 0, f"train.{name}", number, wanted)

    def micro_batches(self, num_replicas: int = 1) -> int:
        """Tell into how many parts each of the replicas splits its share of a batch.

        Raises:
            UserError: the batch cannot be shared and split evenly.
        """
        at_a_time = num_replicas * (self.micro_batch_size or 1)
        if self.global_batch_size % at_a_time:
            replicas = f"{num_replicas} replicas times " if num_replicas > 1 else ""
            raise UserError(
                f"train.global_batch_size {self.global_batch_size} is not a multiple of {replicas}"
                f"train.micro_batch_size {self.micro_batch_size or 1}"
            )
        return self.global_batch_size // at_a_time if self.micro_batch_size else 1


@dataclass(frozen=True)
class DistillConfig:
    """Everything that ``tf-distilbert distill`` needs; a `UserError` where that cannot be.

    Attributes:
        teacher: folder of the teacher; see `load_model`.
        output: the run directory.
        data, train, student, loss: parts with keys of their own.
    """

    teacher: str
    output: str
    data: DataConfig
    train: TrainConfig
    student: StudentConfig = field(default_factory=StudentConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if self.data.vocabulary is not None:
            raise UserError("data.vocabulary is given, but a student has its teacher's; remove it")


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that ``tf-distilbert pretrain`` needs; a `UserError` where that cannot be.

    Attributes:
        output: the run directory.
        data, train, model: parts with keys of their own.
        initialize_from: folder of a masked language model to train on, see `load_model`; its sizes
            and vocabulary are kept. By default a new one is made: `model`, `data.vocabulary`.
    """

    output: str
    data: DataConfig
    train: TrainConfig
    initialize_from: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        if self.initialize_from is not None:
            for name, given in (("data.vocabulary", self.data.vocabulary), ("model", self.model)):
                if given not in (None, ModelConfig()):
                    message = "is given, but the model of initialize_from has its own; remove one"
                    raise UserError(f"{name} {message}")
            return
        if self.data.vocabulary is None:
            raise UserError("data.vocabulary is missing; give a vocab.txt, or a number to learn")
        if isinstance(self.data.vocabulary, int) and not self.data.text:
            raise UserError("data.vocabulary is a number, but there is no data.text to learn from")
        if self.data.sequence_length > self.model.max_positions:
            raise UserError(
                f"data.sequence_length {self.data.sequence_length} exceeds model.max_positions "
                f"{self.model.max_positions}"
            )


def resolve_steps(train: TrainConfig, num_sequences: int, num_tokens: int) -> int:
    """Turn the duration into optimizer updates; the last one counts in full.

    Args:
        train: with one of `steps`, `epochs`, `tokens`.
        num_sequences: in an epoch.
        num_tokens: in an epoch.
    """
    if train.steps:
        return train.steps
    epochs = train.epochs or (train.tokens or 0) / num_tokens
    steps = -int(-epochs * num_sequences // train.global_batch_size)
    return max(1, -(-steps // train.steps_per_execution)) * train.steps_per_execution


def _check(holds: bool, key: str, value: Any, wanted: str) -> None:
    if not holds:
        raise UserError(f"{key} is {value}; it must be {wanted}")


def _choice(key: str, value: str | None, choices: Sequence[str | None]) -> None:
    names = ", ".join(choice or "null" for choice in choices)
    _check(value in choices, key, repr(value), f"one of {names}")
