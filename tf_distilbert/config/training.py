"""The settings of a training: how long, how large, how fast, on what, and what is kept."""

from dataclasses import dataclass

from tf_distilbert.config.checks import check, check_choice
from tf_distilbert.errors import UserError

BACKENDS = ("tensorflow", "jax")
_PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train. The duration is one of `steps`, `epochs` and `tokens`.

    Attributes:
        steps: optimizer updates; `resolve_steps` derives it from `epochs` or `tokens`.
        global_batch_size: sequences in an update.
        micro_batch_size: sequences that are in memory of a device at a time; by default all that
            it has of a batch.
        learning_rate: the peak.
        ema_momentum: keep a moving average of the weights, of which each update replaces the share
            1 - momentum (0.999: about the last thousand updates); it is what is validated and
            saved. null: none.
        warmup_share: share of all updates in which the rate rises; then it falls linearly to 0.
        clip_norm: largest L2 norm of the gradient; null for none.
        precision: ``float32``, ``mixed_bfloat16`` or ``mixed_float16`` (float32 master weights;
            float16 with a dynamic loss scale), or ``auto``: what the device is made for. The run's
            ``config.yaml`` has the choice.
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
    ema_momentum: float | None = None
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
            raise UserError(f"give one of train.steps, train.epochs, train.tokens; given: {given}")
        positive = ["global_batch_size", "learning_rate", "log_every", "validate_every"]
        positive += ["checkpoint_every", "keep_checkpoints", "epsilon", "validation_batch_size"]
        positive += ["steps_per_execution", "max_skipped_updates"]
        for name in (*durations, *positive):
            check(getattr(self, name) > 0, f"train.{name}", getattr(self, name), "above 0")
        for name in ("micro_batch_size", "clip_norm", "histogram_every"):
            value = getattr(self, name)
            check(value is None or value > 0, f"train.{name}", value, "above 0, or null")
        for name in ("warmup_share", "beta_1", "beta_2", "ema_momentum"):
            share = getattr(self, name) or 0.0
            check(0 <= share < 1, f"train.{name}", share, "in [0, 1)")
        check(0 <= self.seed < 2**32, "train.seed", self.seed, "in [0, 2^32)")
        check(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "0 or more")
        check_choice("train.precision", self.precision, _PRECISIONS)
        check_choice("train.backend", self.backend, (None, *BACKENDS))
        check_choice("train.strategy", self.strategy, STRATEGIES)
        check_choice("train.resume", self.resume, ("never", "auto", "overwrite"))
        self.micro_batches()
        first, *last = steps = self.profile_steps or [1, 1]
        in_order = len(last) == 1 and 0 < first <= last[0] <= (self.steps or last[0])
        check(in_order, "train.profile_steps", steps, "two steps of the run, first and last")
        for name in ("steps", "log_every", "validate_every", "checkpoint_every", "histogram_every"):
            number, at_once = getattr(self, name) or 0, self.steps_per_execution
            wanted = f"a multiple of train.steps_per_execution, {at_once}"
            check(number % at_once == 0, f"train.{name}", number, wanted)

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
