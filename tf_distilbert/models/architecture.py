"""The numbers that define an encoder: the one description that all of BERT's family share here."""

from dataclasses import dataclass

from tf_distilbert.errors import UserError

FAMILIES = ("bert", "distilbert", "roberta")
ACTIVATIONS = ("gelu", "gelu_tanh", "relu")

DISTILBERT_EPSILON = 1e-12
"""LayerNorm's epsilon in every DistilBERT: a constant of the architecture, in no config.json."""

_SMALLEST = {
    "vocabulary_size": 1,
    "hidden_size": 1,
    "num_layers": 1,
    "num_heads": 1,
    "intermediate_size": 1,
    "max_positions": 1,
    "num_segments": 0,
    "reserved_positions": 0,
}


@dataclass(frozen=True)
class Architecture:
    """Shape of a transformer encoder with a masked-LM head; the defaults are BERT-base's.

    Attributes:
        vocabulary_size: rows of the embedding table, tied to the head's output.
        hidden_size: width of embeddings and hidden states; a multiple of `num_heads`.
        num_layers: transformer blocks.
        num_heads: attention heads of a block.
        intermediate_size: width of a block's feed-forward layer.
        max_positions: the longest sequence, in tokens.
        reserved_positions: rows of the position table before that of the first token: 2 in
            RoBERTa, whose authors counted from the padding's id on; else 0.
        num_segments: rows of the token-type table; 0 for DistilBERT, which has none.
        activation: ``gelu`` (erf, as Hugging Face's BERT), ``gelu_tanh`` or ``relu``.
        layer_norm_epsilon: added to the variance.
        dropout: on embeddings, feed-forward output and, not in DistilBERT, attention output.
        attention_dropout: on attention probabilities.
        initializer_range: standard deviation of the normal distribution that weights start from.
        family: ``bert``, ``distilbert`` or ``roberta``: names on disk, where dropout is applied.

    Raises:
        UserError: a number is out of range or of another kind, a name is unknown.

    Source: Devlin et al. 2019, section 3; Liu et al. 2019; Sanh et al. 2019, section 3.
    """

    vocabulary_size: int
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    num_segments: int = 2
    reserved_positions: int = 0
    activation: str = "gelu"
    layer_norm_epsilon: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    initializer_range: float = 0.02
    family: str = "bert"

    def __post_init__(self) -> None:
        for name, smallest in _SMALLEST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < smallest:
                raise UserError(
                    f"{name} is {value!r}; it must be a whole number, {smallest} or more"
                )
        if self.family not in FAMILIES:
            raise UserError(f"family {self.family!r}: use one of {', '.join(FAMILIES)}")
        for name in ("dropout", "attention_dropout"):
            if not _is_number(getattr(self, name)) or not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)!r}; it must be in [0, 1)")
        for name in ("layer_norm_epsilon", "initializer_range"):
            if not _is_number(getattr(self, name)) or getattr(self, name) <= 0:
                raise UserError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        if self.hidden_size % self.num_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}"
            )
        if self.activation not in ACTIVATIONS:
            raise UserError(f"activation {self.activation!r}: use one of {', '.join(ACTIVATIONS)}")

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def attention_output_dropout(self) -> float:
        """Dropout after the attention's output projection, which DistilBERT's authors left out."""
        return 0.0 if self.family == "distilbert" else self.dropout


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
