"""A model of ours as a keras-nlp preset, for those who go on with keras-nlp."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_distilbert.atomic_writes import whole_folder
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.keras_nlp_models import FAMILIES, named_values, write_values
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.tokenizer import Tokenizer
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

if TYPE_CHECKING:  # it takes seconds to import
    import keras_nlp

_CLASS_NAMES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}
_LONGEST = 512
_FORMS = {"gelu": "the erf form of GELU", "gelu_tanh": "the tanh form of GELU"}


def export_keras_nlp(model: MaskedLanguageModel, output: str | Path) -> None:
    """Write a keras-nlp preset: backbone, masked-LM head, tokenizer and preprocessor.

    ``keras_nlp.models.DistilBertMaskedLM.from_preset(output)`` opens it, and so do
    ``DistilBertTextClassifier.from_preset(output, num_classes=2)``, ``DistilBertBackbone`` and
    ``DistilBertTokenizer``; for a BERT or RoBERTa those named ``Bert...`` or ``Roberta...``.

    What keras-nlp then computes: hidden states equal ours to 2e-5, on a CPU mostly bit for bit.
    Logits, which range over 40, differed by 3e-4 at most, with never another top answer: the norm
    in keras-nlp's masked-LM head has epsilon 1e-5 where ours has 1e-12, and no file of a preset
    can say so. A BERT's differed by 2e-3, for there the head also has GELU's erf form.

    Texts become the same tokens but where keras-nlp folds the case of an uncased vocabulary: it
    folds compatibility characters, too (final sigma, sharp s, superscripts, the ellipsis). That
    met 85 of 12,000 paragraphs of English Wikipedia.

    A preset keeps the settings of one preprocessor, here the masked-LM task's. That of a classifier
    comes with sequence_length 512: for a model of fewer positions set
    ``classifier.preprocessor.sequence_length``.

    keras-nlp has one dropout rate, which becomes that of the hidden states. A BERT's pooler, which
    masked-LM models do not have, starts at random.

    Args:
        model: with its tokenizer attached.
        output: the folder; it appears only when complete.

    Raises:
        UserError: keras-nlp cannot express the model; the folder exists and is not empty, or
            cannot be written.
    """
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists already; choose another folder or remove it")
    with whole_folder(output) as folder:
        write_keras_nlp(model, folder)


def write_keras_nlp(model: MaskedLanguageModel, folder: Path) -> None:
    """Write the files of a keras-nlp preset into a folder; see `export_keras_nlp`."""
    family = _check_architecture(model.architecture)
    tokenizer = _make_tokenizer(model.tokenizer, family)
    task = _make_task(model, family, tokenizer)
    task.save_to_preset(str(folder))
    if isinstance(model.tokenizer, WordPieceTokenizer):
        _keep_split_chinese(folder, model.tokenizer.split_chinese)


def _check_architecture(architecture: Architecture) -> str:
    """Give the beginning of keras-nlp's class names for it, or refuse it."""
    family = _CLASS_NAMES[architecture.family]
    computed = FAMILIES[family]
    if architecture.activation != computed["activation"]:
        raise UserError(
            f"the model's activation is {architecture.activation}; keras-nlp's {family} knows only "
            f"{_FORMS[computed['activation']]} ({computed['activation']}): what it computed would "
            "differ; use the Hugging Face folder"
        )
    if architecture.layer_norm_epsilon != computed["layer_norm_epsilon"]:
        raise UserError(
            f"the model's layer_norm_epsilon is {architecture.layer_norm_epsilon}; keras-nlp's "
            f"{family} has {computed['layer_norm_epsilon']}; use the Hugging Face folder"
        )
    if family == "Bert" and not architecture.num_segments:
        raise UserError(
            "the model has num_segments 0; keras-nlp's Bert needs a segment table; "
            "use the Hugging Face folder"
        )
    return family


def _make(family: str, kind: str, *arguments: Any, **settings: Any) -> Any:
    import keras_nlp

    return getattr(keras_nlp.models, family + kind)(*arguments, **settings)


def _make_tokenizer(tokenizer: Tokenizer | None, family: str) -> "keras_nlp.tokenizers.Tokenizer":
    if isinstance(tokenizer, BytePairTokenizer) and family == "Roberta":
        ids = {token: i for i, token in enumerate(tokenizer.vocabulary)}
        merges = [" ".join(pair) for pair in tokenizer.merges]
        return _make(family, "Tokenizer", ids, merges, add_prefix_space=tokenizer.add_prefix_space)
    if isinstance(tokenizer, WordPieceTokenizer) and family != "Roberta":
        return _make(
            family,
            "Tokenizer",
            list(tokenizer.vocabulary),
            lowercase=tokenizer.lower_case,
            strip_accents=tokenizer.strip_accents,
            # As ours does: [MASK] in a text is the mask.
            special_tokens_in_strings=True,
        )
    raise UserError(
        f"the model's tokenizer is a {type(tokenizer).__name__}; keras-nlp's {family} has none "
        "like it: use the Hugging Face folder"
    )


def _make_task(
    model: MaskedLanguageModel, family: str, tokenizer: "keras_nlp.tokenizers.Tokenizer"
) -> "keras_nlp.models.MaskedLM":
    architecture = model.architecture
    segments = {"num_segments": architecture.num_segments} if family == "Bert" else {}
    backbone = _make(
        family,
        "Backbone",
        vocabulary_size=architecture.vocabulary_size,
        num_layers=architecture.num_layers,
        num_heads=architecture.num_heads,
        hidden_dim=architecture.hidden_size,
        intermediate_dim=architecture.intermediate_size,
        dropout=architecture.dropout,
        max_sequence_length=architecture.max_positions,
        dtype="float32",
        **segments,
    )
    sequence_length = min(architecture.max_positions, _LONGEST)
    preprocessor = _make(
        family,
        "MaskedLMPreprocessor",
        tokenizer,
        sequence_length=sequence_length,
        # keras-nlp's own ratio, 96 of 512.
        mask_selection_length=-(-sequence_length * 96 // 512),
    )
    # Compiled, as from_preset compiles: it warns where one has an optimizer, the other none.
    task = _make(family, "MaskedLM", backbone, preprocessor)
    values = named_values(model)
    if family == "Roberta":  # keras-nlp's has neither reserved positions nor segments
        positions = values["encoder/position_table"][architecture.reserved_positions :]
        values["encoder/position_table"] = positions + values["encoder/segment_table"][0]
    write_values(values, backbone, task.masked_lm_head)
    return task


def _keep_split_chinese(folder: Path, split_chinese: bool) -> None:
    """Write what keras-nlp's tokenizer reads from its files but leaves out of them."""
    for path in (folder / name for name in ("tokenizer.json", "preprocessor.json", "task.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content["config"]
        for key in ("preprocessor", "tokenizer"):
            config = config[key]["config"] if key in config else config
        config["split_on_cjk"] = split_chinese
        path.write_text(json.dumps(content, indent=4), encoding="utf-8")
