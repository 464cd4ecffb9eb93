"""Names of weights: ours beside Hugging Face's, one table for reading and for writing.

A row names one of our variables and the tensor it is stored as. ``block/`` and ``layer.`` stand
for the beginning of every layer's names. ``[k]`` picks the k-th of three equal parts along the
last axis: query, key and value are one matrix here. Kernels are stored transposed (PyTorch's
``Linear`` keeps [out, in]).
"""

import re
from collections.abc import Mapping

import numpy as np
from keras import Variable

from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder import Encoder
from tf_distilbert.models.encoder_model import EncoderModel

_BERT = (
    ("encoder/token_table", "bert.embeddings.word_embeddings.weight"),
    ("encoder/position_table", "bert.embeddings.position_embeddings.weight"),
    ("encoder/segment_table", "bert.embeddings.token_type_embeddings.weight"),
    ("encoder/embedding_norm/gamma", "bert.embeddings.LayerNorm.weight"),
    ("encoder/embedding_norm/beta", "bert.embeddings.LayerNorm.bias"),
    ("block/query_key_value/kernel[0]", "layer.attention.self.query.weight"),
    ("block/query_key_value/kernel[1]", "layer.attention.self.key.weight"),
    ("block/query_key_value/kernel[2]", "layer.attention.self.value.weight"),
    ("block/query_key_value/bias[0]", "layer.attention.self.query.bias"),
    ("block/query_key_value/bias[1]", "layer.attention.self.key.bias"),
    ("block/query_key_value/bias[2]", "layer.attention.self.value.bias"),
    ("block/attention_output/kernel", "layer.attention.output.dense.weight"),
    ("block/attention_output/bias", "layer.attention.output.dense.bias"),
    ("block/attention_norm/gamma", "layer.attention.output.LayerNorm.weight"),
    ("block/attention_norm/beta", "layer.attention.output.LayerNorm.bias"),
    ("block/intermediate/kernel", "layer.intermediate.dense.weight"),
    ("block/intermediate/bias", "layer.intermediate.dense.bias"),
    ("block/output_dense/kernel", "layer.output.dense.weight"),
    ("block/output_dense/bias", "layer.output.dense.bias"),
    ("block/output_norm/gamma", "layer.output.LayerNorm.weight"),
    ("block/output_norm/beta", "layer.output.LayerNorm.bias"),
)

_DISTILBERT = (
    ("encoder/token_table", "distilbert.embeddings.word_embeddings.weight"),
    ("encoder/position_table", "distilbert.embeddings.position_embeddings.weight"),
    ("encoder/embedding_norm/gamma", "distilbert.embeddings.LayerNorm.weight"),
    ("encoder/embedding_norm/beta", "distilbert.embeddings.LayerNorm.bias"),
    ("block/query_key_value/kernel[0]", "layer.attention.q_lin.weight"),
    ("block/query_key_value/kernel[1]", "layer.attention.k_lin.weight"),
    ("block/query_key_value/kernel[2]", "layer.attention.v_lin.weight"),
    ("block/query_key_value/bias[0]", "layer.attention.q_lin.bias"),
    ("block/query_key_value/bias[1]", "layer.attention.k_lin.bias"),
    ("block/query_key_value/bias[2]", "layer.attention.v_lin.bias"),
    ("block/attention_output/kernel", "layer.attention.out_lin.weight"),
    ("block/attention_output/bias", "layer.attention.out_lin.bias"),
    ("block/attention_norm/gamma", "layer.sa_layer_norm.weight"),
    ("block/attention_norm/beta", "layer.sa_layer_norm.bias"),
    ("block/intermediate/kernel", "layer.ffn.lin1.weight"),
    ("block/intermediate/bias", "layer.ffn.lin1.bias"),
    ("block/output_dense/kernel", "layer.ffn.lin2.weight"),
    ("block/output_dense/bias", "layer.ffn.lin2.bias"),
    ("block/output_norm/gamma", "layer.output_layer_norm.weight"),
    ("block/output_norm/beta", "layer.output_layer_norm.bias"),
)

# RoBERTa's encoder is BERT's by name too.
_ROBERTA = tuple((ours, theirs.replace("bert.", "roberta.", 1)) for ours, theirs in _BERT)

# What "block/" and "layer." above stand for, on our side and on theirs.
_LAYER_PREFIX = {
    "bert": "bert.encoder.layer.{i}.",
    "distilbert": "distilbert.transformer.layer.{i}.",
    "roberta": "roberta.encoder.layer.{i}.",
}
_ENCODERS = {"bert": _BERT, "distilbert": _DISTILBERT, "roberta": _ROBERTA}

# Layers of the heads, ours beside Hugging Face's; "#" stands for both weights of a layer.
_HEADS = {
    ("masked_lm", "bert"): (
        ("head/transform/#", "cls.predictions.transform.dense.#"),
        ("head/norm/#", "cls.predictions.transform.LayerNorm.#"),
        ("head/output_bias", "cls.predictions.bias"),
    ),
    ("masked_lm", "distilbert"): (
        ("head/transform/#", "vocab_transform.#"),
        ("head/norm/#", "vocab_layer_norm.#"),
        ("head/output_bias", "vocab_projector.bias"),
    ),
    ("masked_lm", "roberta"): (
        ("head/transform/#", "lm_head.dense.#"),
        ("head/norm/#", "lm_head.layer_norm.#"),
        ("head/output_bias", "lm_head.bias"),
    ),
    ("sequence_classification", "bert"): (
        ("head/transform/#", "bert.pooler.dense.#"),
        ("head/output_dense/#", "classifier.#"),
    ),
    ("sequence_classification", "distilbert"): (
        ("head/transform/#", "pre_classifier.#"),
        ("head/output_dense/#", "classifier.#"),
    ),
    ("sequence_classification", "roberta"): (
        ("head/transform/#", "classifier.dense.#"),
        ("head/output_dense/#", "classifier.out_proj.#"),
    ),
    **{
        (task, family): (("head/output_dense/#", f"{theirs}.#"),)
        for task, theirs in (
            ("token_classification", "classifier"),
            ("question_answering", "qa_outputs"),
        )
        for family in _ENCODERS
    },
}

_SAVED_FROM = {
    "masked_lm": "...ForMaskedLM or ...ForPreTraining",
    "sequence_classification": "...ForSequenceClassification",
    "token_classification": "...ForTokenClassification",
    "question_answering": "...ForQuestionAnswering",
}

# Tensors of real folders that no model here needs.
_UNUSED = re.compile(
    r"(bert|roberta)\.pooler\..*|cls\.seq_relationship\..*|.*\.position_ids|"
    r"(cls\.predictions|lm_head)\.decoder\.(weight|bias)|vocab_projector\.weight"
)
# The output projections among them: they must be the embedding table they are tied to.
_TIED = ("cls.predictions.decoder.weight", "lm_head.decoder.weight", "vocab_projector.weight")


def name_table(architecture: Architecture, task: str = "masked_lm") -> list[tuple[str, str]]:
    """List (our name, Hugging Face's name) for every tensor of a model of this architecture."""
    prefix = _LAYER_PREFIX[architecture.family]
    rows = []
    for ours, theirs in _ENCODERS[architecture.family]:
        if not ours.startswith("block/"):
            rows.append((ours, theirs))
            continue
        for i in range(architecture.num_layers):
            ours_i = ours.replace("block/", f"encoder/block_{i}/", 1)
            rows.append((ours_i, theirs.replace("layer.", prefix.format(i=i), 1)))
    for ours, theirs in _HEADS.get((task, architecture.family), ()):
        own = ("gamma", "beta") if "/norm/" in ours else ("kernel", "bias")
        both = zip(own, ("weight", "bias"), strict=True)
        pairs = [(ours.replace("#", a), theirs.replace("#", b)) for a, b in both]
        rows += dict.fromkeys(pairs)  # once, where the name is whole
    return rows


def named_variables(model: EncoderModel) -> dict[str, Variable]:
    """Map our names (as in `name_table`, without ``[k]``) to the model's variables."""
    return {v.path.split("/", 1)[1]: v for v in model.weights}


def write_tensors(model: EncoderModel) -> dict[str, np.ndarray]:
    """Give the model's weights under Hugging Face's names, float32."""
    values = {name: np.asarray(v.value) for name, v in named_variables(model).items()}
    return {
        theirs: np.ascontiguousarray(_stored_form(values, ours), dtype=np.float32)
        for ours, theirs in name_table(model.architecture, model.task)
    }


def read_tensors(model: EncoderModel, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Assign tensors under Hugging Face's names to the model's weights.

    Args:
        model: takes the values; every weight is assigned or none.
        tensors: name to array, any float dtype.
        source: the file or folder, named in errors.

    Raises:
        UserError: a tensor is missing, surplus or of another shape; the head is missing; the
            output projection is not tied to the embeddings.
    """
    if model.task in ("encoder", "embedding"):  # the head of the latter is no part of the file
        read_encoder_tensors(model.encoder, tensors, source)
        return
    tensors = {_modern_name(name): tensor for name, tensor in tensors.items()}
    if not has_head(tensors, model.task):
        name = {"masked_lm": "masked-LM"}.get(model.task, model.task.replace("_", "-"))
        raise UserError(
            f"{source}: has no {name} head, so what it predicts would be noise; "
            f"use a folder saved from a {_SAVED_FROM[model.task]} model"
        )
    table = name_table(model.architecture, model.task)
    _check_names(table, tensors, source)
    _check_tied(table, tensors, source)
    _assign(named_variables(model), table, tensors, source)


def has_head(tensors: Mapping[str, np.ndarray], task: str) -> bool:
    """Tell whether tensors under Hugging Face's names have the head of a task, in any family."""
    return any(name.startswith(_head_prefixes(task)) for name in tensors)


def read_encoder_tensors(encoder: Encoder, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Assign an encoder's tensors, whatever head is or is not beside them; see `read_tensors`.

    A bare encoder's (``BertModel``), whose names lack the family's prefix, are taken, too.
    """
    prefix = f"{encoder.architecture.family}."
    tensors = {_modern_name(name): tensor for name, tensor in tensors.items()}
    if not any(name.startswith(prefix) for name in tensors):
        tensors = {prefix + name: tensor for name, tensor in tensors.items()}
    table = name_table(encoder.architecture, "encoder")
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    _check_names(table, own, source)
    # A path begins with the model's name where the encoder is part of one.
    variables = {v.path[v.path.rindex("encoder/") :]: v for v in encoder.weights}
    _assign(variables, table, own, source)


def read_pooler(model: EncoderModel, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Give a BERT's new classifier the pooler of its pre-training, if there is one.

    Args:
        model: a classifier; of other families, whose heads begin untrained, nothing is changed.
        tensors, source: as `read_tensors` takes them.

    Raises:
        UserError: the pooler is of another size.
    """
    if (model.task, model.architecture.family) != ("sequence_classification", "bert"):
        return
    found = {f"bert.{name.removeprefix('bert.')}": tensor for name, tensor in tensors.items()}
    table = [row for row in name_table(model.architecture, model.task) if ".pooler." in row[1]]
    if all(theirs in found for _, theirs in table):
        variables = named_variables(model)
        _assign({ours: variables[ours] for ours, _ in table}, table, found, source)


def _head_prefixes(task: str) -> tuple[str, ...]:
    """How the names of a task's head begin, in any family."""
    rows = (row for (own, _), rows in _HEADS.items() if own == task for row in rows)
    prefixes = (theirs.partition("#")[0] for _, theirs in rows)
    # BERT's pooler, a part of a head here, is a part of its encoder there.
    return tuple(prefix for prefix in prefixes if not prefix.startswith("bert."))


def _assign(
    variables: Mapping[str, Variable],
    table: list[tuple[str, str]],
    tensors: Mapping[str, np.ndarray],
    source: str,
) -> None:
    """Give all variables their values, or none if a shape is wrong."""
    values = {name: np.empty(v.shape, np.float32) for name, v in variables.items()}
    for ours, theirs in table:
        target = _stored_form(values, ours)
        if target.shape != tensors[theirs].shape:
            raise UserError(
                f"{source}: {theirs} has shape {list(tensors[theirs].shape)}, "
                f"its configuration calls for {list(target.shape)}"
            )
        target[...] = tensors[theirs]
    for name, variable in variables.items():
        variable.assign(values[name])


def _stored_form(values: Mapping[str, np.ndarray], ours: str) -> np.ndarray:
    """View of our array as it is stored: the k-th third if ``[k]`` is asked for, transposed."""
    name, _, part = ours.partition("[")
    value = values[name]
    if part:
        width = value.shape[-1] // 3
        k = int(part[0])
        value = value[..., k * width : (k + 1) * width]
    return value.T if name.endswith("/kernel") else value


def _modern_name(name: str) -> str:
    # Folders converted from TensorFlow 1 (bert-base-uncased itself) keep its names of the norms.
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _check_names(
    table: list[tuple[str, str]], tensors: Mapping[str, np.ndarray], source: str
) -> None:
    wanted = {theirs for _, theirs in table}
    missing = sorted(wanted - tensors.keys())
    surplus = sorted(n for n in tensors.keys() - wanted if not _UNUSED.fullmatch(n))
    for what, names in (("lacks", missing), ("holds unknown", surplus)):
        if names:
            raise UserError(f"{source}: {what} {_some(names)}")


def _check_tied(
    table: list[tuple[str, str]], tensors: Mapping[str, np.ndarray], source: str
) -> None:
    embeddings = tensors[dict(table)["encoder/token_table"]]
    for name in _TIED:
        if name in tensors and not np.array_equal(tensors[name], embeddings):
            raise UserError(
                f"{source}: {name} differs from the word embeddings; only tied heads work"
            )


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
