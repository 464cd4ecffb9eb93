"""A SavedModel for TensorFlow Serving: text in, answers out, the tokenizer in the graph."""

from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf

from tf_distilbert.encoder_model import EncoderModel
from tf_distilbert.errors import UserError
from tf_distilbert.export.model_function import input_specs, model_function
from tf_distilbert.export.warm_up import write_warm_up_requests
from tf_distilbert.serving.service import Service
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

TOKEN_IDS = "token_ids"
"""The signature for clients that tokenise themselves."""


class ServedModule(tf.Module):
    """What is saved: weights, vocabulary, and a function for each signature.

    Args:
        model: computes; its dtype is the export's.
        service: answers texts with it.
        tokenizer_files: the tokenizer's own, to be put among the assets for clients that tokenise
            themselves.

    Attributes:
        functions: signature to function.
    """

    def __init__(self, model: EncoderModel, service: Service, tokenizer_files: list[Path]) -> None:
        super().__init__()
        # TensorFlow Serving's loader finds variables by the names under which a module holds
        # them, and does not look into Keras's own (tensorflow#72963).
        self.weights = [variable.value for variable in model.variables]
        self.assets = [tf.saved_model.Asset(str(path)) for path in tokenizer_files]
        served = service.model
        specs = {TOKEN_IDS: input_specs(served)}
        run = model_function(model, served)
        functions = {TOKEN_IDS: lambda **inputs: {served.output_name: run(**inputs)}}
        if isinstance(served.tokenizer, WordPieceTokenizer):
            for name, texts in service.signatures.items():
                specs[name] = {text: tf.TensorSpec([None], tf.string, text) for text in texts}
                functions[name] = service.answer
        else:
            # The tokenizer runs outside of graphs alone; servers look for this name, too.
            specs["serving_default"] = specs[TOKEN_IDS]
            functions["serving_default"] = functions[TOKEN_IDS]
        self.functions = {
            name: tf.function(function, autograph=False).get_concrete_function(**specs[name])
            for name, function in functions.items()
        }


def write_saved_model(model: EncoderModel, service: Service, folder: Path) -> None:
    """Write a SavedModel with warm-up requests, in TensorFlow Serving's layout.

    Args:
        model: computes; its dtype is the export's.
        service: answers texts with it; decides about long texts.
        folder: of the version; it must not exist.

    Raises:
        UserError: it cannot be written.
    """
    if model.tokenizer is None:
        raise UserError("the model has no tokenizer; set model.tokenizer first")
    with TemporaryDirectory() as temporary:
        model.tokenizer.save(Path(temporary), model.architecture.max_positions)
        module = ServedModule(model, service, sorted(Path(temporary).iterdir()))
        tf.saved_model.save(module, str(folder), signatures=module.functions)
    write_warm_up_requests(folder, module.functions)
