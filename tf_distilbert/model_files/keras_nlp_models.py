"""A keras-nlp masked language model seen as one of ours.

keras-nlp (since renamed keras-hub) keeps query, key and value apart, and the heads of each on an
axis of their own. The tables here name its weights as ours are named; the model runs through
keras-nlp's own layers, so that its numbers are keras-nlp's.

Dimensions: N tokens, D hidden, H heads, K head size, V vocabulary, L layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.errors import UserError
from tf_distilbert.losses.vocabulary import Projection
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.tokenizer import Tokenizer
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

if TYPE_CHECKING:  # it takes seconds to import
    import keras_nlp

# How keras-nlp's class names begin, and what its encoders compute that no attribute of them says.
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": {"family": "bert", "activation": "gelu_tanh", "layer_norm_epsilon": 1e-12},
    "DistilBert": {"family": "distilbert", "activation": "gelu", "layer_norm_epsilon": 1e-12},
    "Roberta": {"family": "roberta", "activation": "gelu", "layer_norm_epsilon": 1e-5}
    # Left out of keras-nlp's, for they do nothing; a Hugging Face folder of a student has them.
    | {"num_segments": 1, "reserved_positions": 2},
}

# Our name of a weight beside the attribute of the backbone, of its i-th transformer layer and of
# the head that holds it; ``[k]`` is the k-th third along the last axis, as in `hf_weights`.
_BERT = (
    ("encoder/token_table", "token_embedding.embeddings"),
    ("encoder/position_table", "position_embedding.position_embeddings"),
    ("encoder/segment_table", "segment_embedding.embeddings"),
)
_OTHERS = (
    ("encoder/token_table", "embeddings.token_embedding.embeddings"),
    ("encoder/position_table", "embeddings.position_embedding.position_embeddings"),
)
_NORM = (
    ("encoder/embedding_norm/gamma", "embeddings_layer_norm.gamma"),
    ("encoder/embedding_norm/beta", "embeddings_layer_norm.beta"),
)
_BLOCK = (
    ("query_key_value/kernel[0]", "_self_attention_layer.query_dense.kernel"),
    ("query_key_value/kernel[1]", "_self_attention_layer.key_dense.kernel"),
    ("query_key_value/kernel[2]", "_self_attention_layer.value_dense.kernel"),
    ("query_key_value/bias[0]", "_self_attention_layer.query_dense.bias"),
    ("query_key_value/bias[1]", "_self_attention_layer.key_dense.bias"),
    ("query_key_value/bias[2]", "_self_attention_layer.value_dense.bias"),
    ("attention_output/kernel", "_self_attention_layer.output_dense.kernel"),
    ("attention_output/bias", "_self_attention_layer.output_dense.bias"),
    ("attention_norm/gamma", "_self_attention_layer_norm.gamma"),
    ("attention_norm/beta", "_self_attention_layer_norm.beta"),
    ("intermediate/kernel", "_feedforward_intermediate_dense.kernel"),
    ("intermediate/bias", "_feedforward_intermediate_dense.bias"),
    ("output_dense/kernel", "_feedforward_output_dense.kernel"),
    ("output_dense/bias", "_feedforward_output_dense.bias"),
    ("output_norm/gamma", "_feedforward_layer_norm.gamma"),
    ("output_norm/beta", "_feedforward_layer_norm.beta"),
)
_HEAD = (
    ("head/transform/kernel", "_intermediate_dense.kernel"),
    ("head/transform/bias", "_intermediate_dense.bias"),
    ("head/norm/gamma", "_intermediate_layer_norm.gamma"),
    ("head/norm/beta", "_intermediate_layer_norm.beta"),
    ("head/output_bias", "_bias"),
)


class KerasNlpMaskedLanguageModel(keras.Model):
    """A keras-nlp masked language model with the interface of `MaskedLanguageModel`.

    Its weights are the variables of the task that it is made from: what trains this trains that.
    BERT's pooler, which no masked-LM loss reaches, is not among them.

    Args:
        task: ``keras_nlp.models.BertMaskedLM``, ``DistilBertMaskedLM`` or ``RobertaMaskedLM``.

    Attributes:
        architecture: the encoder's. keras-nlp's head differs from it in two things that stay in
            force here: its LayerNorm's epsilon is 1e-5, and BERT's head has the erf form of GELU.
        tokenizer: made from the task's preprocessor; None if it has none.

    Raises:
        UserError: the tokenizer's vocabulary is not the model's.
    """

    task = "masked_lm"

    def __init__(self, task: "keras_nlp.models.MaskedLM", **kwargs: Any) -> None:
        backbone = task.backbone
        super().__init__(dtype=backbone.dtype_policy, **kwargs)
        self.architecture = architecture_of(backbone)
        self.tokenizer = tokenizer_of(task.preprocessor)
        known = len(self.tokenizer.vocabulary) if self.tokenizer else backbone.vocabulary_size
        if known != backbone.vocabulary_size:
            raise UserError(
                f"{type(task).__name__}: its tokenizer has {known} tokens, its backbone "
                f"{backbone.vocabulary_size}; one of them belongs to another model"
            )
        states = [backbone.embeddings_dropout, *backbone.transformer_layers]
        self.encoder = keras.Model(backbone.input, [layer.output for layer in states])
        self.head = task.masked_lm_head
        # A closure: as an attribute, Keras would count BERT's pooler among the weights.
        self._task = lambda: task
        self.built = True

    # These are written in terms of what follows.
    call = MaskedLanguageModel.call
    logits = MaskedLanguageModel.logits
    check_length = MaskedLanguageModel.check_length

    def hidden_states(
        self, inputs: Mapping[str, Tensor], training: bool = False
    ) -> tuple[Tensor, ...]:
        """Give the embeddings' and every layer's output; see `MaskedLanguageModel`.

        Raises:
            UserError: rows are packed; keras-nlp's attention cannot keep sequences apart.
        """
        if "sequence_ids" in inputs:
            self.check_packing()
        inputs = {"segment_ids": ops.zeros_like(inputs["token_ids"]), **inputs}
        taken = {name: ops.cast(inputs[name], "int32") for name in self.encoder.input}
        return tuple(self.encoder(taken, training=training))

    def query_key_value(self, hidden_states: Sequence[Tensor], layer: int) -> Tensor:
        """Give a layer's projections; see `EncoderModel.query_key_value`."""
        attention = self._task().backbone.transformer_layers[layer]._self_attention_layer
        taken = hidden_states[layer]
        dense = (attention.query_dense, attention.key_dense, attention.value_dense)
        shape = (*ops.shape(taken)[:2], self.architecture.hidden_size)
        return ops.concatenate([ops.reshape(each(taken), shape) for each in dense], axis=-1)

    def check_packing(self) -> None:
        """Refuse packed rows; see `MaskedLanguageModel.check_packing`."""
        raise UserError(
            "a keras-nlp model cannot keep the sequences of a packed row apart; "
            "set data.packing to false, or use a model of ours"
        )

    def projection(self, hidden: Tensor) -> Projection:
        """Give what makes the logits of last hidden states; see `MaskedLanguageModel`."""
        transformed = self.head._intermediate_layer_norm(self.head._intermediate_dense(hidden))
        return Projection(transformed, self.head.token_embedding.embeddings, self.head._bias)

    def keras_nlp_task(self) -> "keras_nlp.models.MaskedLM":
        """Give the keras-nlp model that this wraps, e.g. to save it as a preset."""
        return self._task()

    def get_config(self) -> dict[str, Any]:
        """Refuse: a class of keras-nlp's describes this model already.

        Raises:
            UserError: always.
        """
        raise UserError(
            "a keras-nlp model has no configuration of ours: write it with model.save(PATH), which "
            "saves the model that it wraps, or take that with model.keras_nlp_task()"
        )

    def save(self, filepath: str | Path, overwrite: bool = True, **kwargs: Any) -> None:
        """Write the keras-nlp model that this wraps in Keras's own format.

        Args:
            filepath: a name that ends in ``.keras``.
            overwrite: whether to replace a file of that name without asking.
            kwargs: what else ``keras.Model.save`` takes.

        Example:
            >>> model.save("teacher.keras")
            >>> model = as_model(keras.models.load_model("teacher.keras", compile=False))
        """
        self._task().save(filepath, overwrite=overwrite, **kwargs)

    def named_values(self) -> dict[str, np.ndarray]:
        """Give the weights as float32 under our names, query, key and value in one."""
        return read_values(self._task().backbone, self.head)


def as_model(model: keras.Model) -> MaskedLanguageModel | KerasNlpMaskedLanguageModel:
    """Wrap a keras-nlp masked language model; give any of ours as it is.

    Raises:
        UserError: it is neither.
    """
    if isinstance(model, MaskedLanguageModel | KerasNlpMaskedLanguageModel):
        return model
    import keras_nlp

    names = [f"{name}MaskedLM" for name in FAMILIES]
    if isinstance(model, tuple(getattr(keras_nlp.models, name) for name in names)):
        return KerasNlpMaskedLanguageModel(model)
    raise UserError(
        f"{type(model).__name__} is no masked language model; give one of tf_distilbert.load_model "
        f"or a keras_nlp.models.{' or '.join(names)}"
    )


def named_values(model: EncoderModel | KerasNlpMaskedLanguageModel) -> dict[str, np.ndarray]:
    """Give a model's weights under our names, as in `hf_weights.named_variables`, whoever's it is.

    ``query_key_value`` is [D, 3·D]: query, key, value.
    """
    if isinstance(model, KerasNlpMaskedLanguageModel):
        return model.named_values()
    return {name: np.asarray(v.value) for name, v in named_variables(model).items()}


def architecture_of(backbone: "keras_nlp.models.Backbone") -> Architecture:
    """Describe a backbone as an encoder of ours.

    Raises:
        UserError: it is none of `FAMILIES`.
    """
    constants: dict[str, Any] = {"num_segments": getattr(backbone, "num_segments", 0)}
    constants |= FAMILIES[_family(backbone)]
    return Architecture(
        vocabulary_size=backbone.vocabulary_size,
        hidden_size=backbone.hidden_dim,
        num_layers=backbone.num_layers,
        num_heads=backbone.num_heads,
        intermediate_size=backbone.intermediate_dim,
        max_positions=backbone.max_sequence_length,
        dropout=backbone.dropout,
        attention_dropout=backbone.dropout,
        **constants,
    )


def tokenizer_of(preprocessor: Any) -> Tokenizer | None:
    """Make a tokenizer like that of a keras-nlp preprocessor; None if it has none."""
    theirs = getattr(preprocessor, "tokenizer", None)
    if theirs is None or theirs.vocabulary is None:
        return None
    if hasattr(theirs, "merges"):
        merges = [tuple(pair.split(" ")) for pair in theirs.merges]
        return BytePairTokenizer(theirs.vocabulary, merges, theirs.add_prefix_space)
    return WordPieceTokenizer(
        theirs.get_vocabulary(),
        lower_case=theirs.lowercase,
        strip_accents=theirs.strip_accents,
        split_chinese=theirs.split_on_cjk,
    )


def read_values(
    backbone: "keras_nlp.models.Backbone", head: keras.layers.Layer | None = None
) -> dict[str, np.ndarray]:
    """Give keras-nlp's weights as float32 under our names and in our shapes."""
    values: dict[str, np.ndarray] = {}
    for name, variable in _variables(backbone, head):
        value = np.asarray(variable.value, dtype=np.float32)
        name, _, part = name.partition("[")
        if part:  # [D, H, K] or [H, K]
            value = value.reshape(-1) if name.endswith("bias") else value.reshape(len(value), -1)
            if name in values:
                value = np.concatenate([values[name], value], axis=-1)
        elif value.ndim == 3:  # [H, K, D]
            value = value.reshape(-1, value.shape[-1])
        values[name] = value
    if _family(backbone) == "Roberta":
        positions = values["encoder/position_table"]
        values["encoder/position_table"] = np.pad(positions, ((2, 0), (0, 0)))
        values["encoder/segment_table"] = np.zeros_like(positions[:1])
    return values


def write_values(
    values: Mapping[str, np.ndarray],
    backbone: "keras_nlp.models.Backbone",
    head: keras.layers.Layer | None = None,
) -> None:
    """Assign values, named as ours are and shaped as keras-nlp's need them, to its weights."""
    for name, variable in _variables(backbone, head):
        name, _, part = name.partition("[")
        value = np.split(values[name], 3, axis=-1)[int(part[0])] if part else values[name]
        variable.assign(value.reshape(variable.shape))


def _variables(
    backbone: "keras_nlp.models.Backbone", head: keras.layers.Layer | None
) -> Iterator[tuple[str, keras.Variable]]:
    tables = _BERT if _family(backbone) == "Bert" else _OTHERS
    for name, attribute in (*tables, *_NORM):
        yield name, attrgetter(attribute)(backbone)
    for i, layer in enumerate(backbone.transformer_layers):
        for name, attribute in _BLOCK:
            yield f"encoder/block_{i}/{name}", attrgetter(attribute)(layer)
    for name, attribute in _HEAD if head else ():
        yield name, attrgetter(attribute)(head)


def _family(backbone: "keras_nlp.models.Backbone") -> str:
    import keras_nlp

    for name in FAMILIES:
        if isinstance(backbone, getattr(keras_nlp.models, f"{name}Backbone")):
            return name
    raise UserError(
        f"{type(backbone).__name__} is not supported; use one of "
        f"{', '.join(f'{name}Backbone' for name in FAMILIES)}"
    )
