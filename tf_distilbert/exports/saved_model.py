"""A SavedModel for TensorFlow Serving: text in, answers out, the tokenizer in the graph."""

from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf

from tf_distilbert.encoder_model import EncoderModel
from tf_distilbert.errors import UserError
from tf_distilbert.exports.concrete_function import input_specs
from tf_distilbert.exports.description import write_description
from tf_distilbert.exports.silence import silenced
from tf_distilbert.exports.warm_up import write_warm_up_requests
from tf_distilbert.serving.model_function import model_function
from tf_distilbert.serving.service import Service
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

TOKEN_IDS = "token_ids"
"""The signature for clients that tokenise themselves."""


class ServedModule(tf.Module):
    """What is saved: weights, vocabulary, and a function for each signature.

    Args:
        model: computes; its dtype is the export's.
        service: says how texts are answered.
        files: become assets: the tokenizer's and ``metadata.json``, for clients that tokenise
            themselves.

    Attributes:
        functions: signature to function.
    """

    def __init__(self, model: EncoderModel, service: Service, files: list[Path]) -> None:
        super().__init__()
        # TensorFlow Serving's loader finds variables by the names under which a module holds
        # them, and does not look into Keras's own (tensorflow#72963).
        self.weights = [variable.value for variable in model.variables]
        self.assets = [tf.saved_model.Asset(str(path)) for path in files]
        served = service.model
        run = model_function(model, served)
        specs = {TOKEN_IDS: input_specs(served)}
        functions = {TOKEN_IDS: lambda **inputs: {served.output_name: run(inputs)}}
        if isinstance(served.tokenizer, WordPieceTokenizer):
            own = service.with_run(run)
            for name, texts in service.signatures.items():
                specs[name] = {text: tf.TensorSpec([None], tf.string, text) for text in texts}
                functions[name] = lambda **texts: own.answer(**texts)
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
        model: computes; its dtype is the export's, see `EncoderModel.held_in`.
        service: says how texts are answered.
        folder: of the version.

    Raises:
        UserError: it cannot be written.
    """
    with TemporaryDirectory() as temporary:
        facts = {"format": "saved_model", "precision": model.compute_dtype}
        facts["long_texts"] = service.long_texts
        write_description(Path(temporary), service.model, **facts)
        module = ServedModule(model, service, sorted(Path(temporary).iterdir()))
        try:
            with silenced("tensorflow"):
                tf.saved_model.save(module, str(folder), signatures=module.functions)
            write_warm_up_requests(folder, module.functions)
        except tf.errors.OpError as error:
            raise UserError(f"{folder}: cannot be written ({error.message}); make room") from None


def batching_parameters(max_batch_size: int) -> str:
    """Give a file for TensorFlow Serving's ``--batching_parameters_file``.

    Args:
        max_batch_size: texts that go through the model together.
    """
    # Rows of ids must have one length: the server would pad them with their first number.
    return f"max_batch_size {{ value: {max_batch_size} }}\nbatch_timeout_micros {{ value: 2000 }}\n"
