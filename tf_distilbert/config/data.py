"""The settings of the data: which text, in sequences of which length, which words are masked."""

from dataclasses import dataclass, field

from tf_distilbert.config.checks import check, check_choice
from tf_distilbert.errors import UserError


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens are predicted; see `TokenMasker`. Where no term predicts, none is hidden."""

    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    smoothing: float = 0.0
    whole_word: bool = False

    def __post_init__(self) -> None:
        check(0 < self.rate < 1, "data.masking.rate", self.rate, "a share between 0 and 1")
        shares = (self.mask_share, self.random_share)
        check(
            min(shares) >= 0 and sum(shares) <= 1 + 1e-9,
            "data.masking.mask_share and random_share",
            shares,
            "shares that add up to 1 at most",
        )
        check(self.smoothing >= 0, "data.masking.smoothing", self.smoothing, "0 or more")


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
        rows: what a sequence is: ``blocks`` of connected text, or one of ``texts``, a line each,
            every one once, as sentence encoders are compared on.
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
    rows: str = "blocks"
    packing: bool = False
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    workers: int | None = None
    invalid_utf8: str = "skip"
    on_corrupt: str = "error"

    def __post_init__(self) -> None:
        for text, records in (("text", "records"), ("validation", "validation_records")):
            if getattr(self, text) and getattr(self, records):
                raise UserError(f"data.{text} and data.{records} are both given; keep one of them")
        if self.validation_share and (self.validation or self.validation_records):
            raise UserError(
                "data.validation_share and held-out text are both given; keep one of them"
            )
        share, workers = self.validation_share, self.workers
        check(0 <= share < 1, "data.validation_share", share, "in [0, 1)")
        if not self.text and not self.records:
            raise UserError("data.text is missing; give files of text, or data.records")
        check(workers is None or workers > 0, "data.workers", workers, "above 0, or null")
        check_choice("data.rows", self.rows, ("blocks", "texts"))
        check_choice("data.invalid_utf8", self.invalid_utf8, ("skip", "refuse"))
        check_choice("data.on_corrupt", self.on_corrupt, ("error", "skip"))
        check(self.sequence_length >= 16, "data.sequence_length", self.sequence_length, ">= 16")
