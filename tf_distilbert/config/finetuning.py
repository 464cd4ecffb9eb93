"""The settings of a fine-tuning."""

from dataclasses import dataclass, field

from tf_distilbert.config.checks import check, check_choice
from tf_distilbert.config.models import check_terms
from tf_distilbert.config.training import TrainConfig
from tf_distilbert.errors import UserError


@dataclass(frozen=True)
class FinetuneTrainConfig(TrainConfig):
    """As `TrainConfig`, with what is usual for a fine-tuning (Devlin et al. 2019, appendix A.3).

    ``global_batch_size`` counts examples; of questions, windows.
    """

    epochs: float | None = 3.0
    global_batch_size: int = 32
    learning_rate: float = 3e-5
    warmup_share: float = 0.1
    beta_2: float = 0.999
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    seed: int = 1
    validate_every: int = 500
    validation_batch_size: int = 64
    checkpoint_every: int = 500


@dataclass(frozen=True)
class TaskLossConfig:
    """What counts how much where a teacher teaches, see `TaskTrainer`, and what sentence encoders
    learn from, see `SentenceTrainer`.

    The defaults are those of the reference's second step of distillation.

    Attributes:
        temperature: of teacher's and student's output.
        task_weight, distillation_weight, hidden_weight: of the three terms.
        hidden_layers: pairs ``[teacher, student]``, from 0; null: each layer of the student with
            one of the teacher, evenly.
        similarity: of pairs with scores: ``mse``, the squared distance of cosine and score, or
            ``cosent``, the order of the pairs of a batch.
        matryoshka: sizes of beginnings of a sentence encoder's vectors that are to stand for the
            whole, such as ``[384, 128, 64]``; the loss is summed over them. null: the whole alone.
    """

    temperature: float = 2.0
    task_weight: float = 0.5
    distillation_weight: float = 0.5
    hidden_weight: float = 0.0
    hidden_layers: list[list[int]] | None = None
    similarity: str = "mse"
    matryoshka: list[int] | None = None

    def __post_init__(self) -> None:
        check_terms(self)
        check_choice("loss.similarity", self.similarity, ("mse", "cosent"))
        sizes = self.matryoshka
        is_fine = sizes is None or (min(sizes, default=0) > 0 and len(set(sizes)) == len(sizes))
        check(is_fine, "loss.matryoshka", sizes, "different sizes above 0, or null")


@dataclass(frozen=True)
class ColumnsConfig:
    """The columns of one's own files; see `find_task`."""

    text: str | None = None
    text_pair: str | None = None
    negative: str | None = None
    label: str | None = None
    words: str | None = None
    labels: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class TaskEvaluationConfig:
    """What ``tf-distilbert evaluate --task`` can be told beside its options.

    Attributes:
        max_length, doc_stride, columns: see `FinetuneConfig`; by default those of the fine-tuning.
        null_threshold: of SQuAD 2.0; see `best_answers`.
    """

    max_length: int | None = None
    doc_stride: int | None = None
    null_threshold: float = 0.0
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)

    def __post_init__(self) -> None:
        _check_lengths(self.max_length, self.doc_stride)


@dataclass(frozen=True)
class FinetuneConfig:
    """Everything that ``tf-distilbert finetune`` needs; a `UserError` where that cannot be.

    Attributes:
        task: ``sst2``, ``squad``, ``classification``, ...; see `find_task`.
        model: folder of the model to begin with, or ``hf://OWNER/NAME``; a head it has for the
            task is kept.
        data: folder of the task's files, or ``tfds``.
        output: the run directory.
        teacher: folder of a model that was fine-tuned on the task, if one is to teach.
        max_length: tokens of a row; by default 128, of questions 384, of IMDb 512, but no more than
            the model has positions. Of a sentence encoder that of each text, which the model then
            keeps; by default its own.
        doc_stride: of questions: tokens from one window of a long text to the next.
        validation_share: hold back this share of the training split and measure on it, in the
            place of the validation splits.
        head_dropout: before the output; by default the model's own.
        columns: which columns of one's own files are what.
        loss: what counts how much where a teacher teaches.
        train: how long and how to train.
    """

    task: str
    model: str
    data: str
    output: str
    teacher: str | None = None
    max_length: int | None = None
    doc_stride: int = 128
    validation_share: float | None = None
    head_dropout: float | None = None
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    loss: TaskLossConfig = field(default_factory=TaskLossConfig)
    train: FinetuneTrainConfig = field(default_factory=FinetuneTrainConfig)

    def __post_init__(self) -> None:
        _check_lengths(self.max_length, self.doc_stride)
        if self.validation_share is not None and not 0 < self.validation_share < 1:
            raise UserError(f"validation_share is {self.validation_share}; it must be in (0, 1)")


def _check_lengths(max_length: int | None, doc_stride: int | None) -> None:
    if max_length is not None and max_length < 8:
        raise UserError(f"max_length is {max_length}; give 8 or more")
    if doc_stride is not None and doc_stride < 1:
        raise UserError(f"doc_stride is {doc_stride}; give 1 or more")
