"""``predict``: answers from whatever a user has: a model folder, or an export in any format."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.exports.description import FILE as DESCRIPTION
from tf_distilbert.exports.description import read_description
from tf_distilbert.exports.formats import open_raw
from tf_distilbert.exports.saved_model import TOKEN_IDS, SavedModelSession
from tf_distilbert.exports.verification import RawRun
from tf_distilbert.model_files.folder import load_task_model
from tf_distilbert.model_files.keras_nlp_presets import is_preset
from tf_distilbert.serving.served_model import ServedModel, model_function
from tf_distilbert.serving.service import Run, Service
from tf_distilbert.serving.services import SERVICES
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

BATCH_SIZE = 32

_COUNTS = ("mask_count", "token_count")


class Predictor:
    """Answers texts with a model in any format.

    Args:
        path: a model folder as `load_task_model` takes it; the folder of an export by `export`;
            of a SavedModel the folder of one version, or of all, of which the newest is taken.
        task: the head to be used, of a model folder; see `load_task_model`.
        compiled: let a model folder answer as a SavedModel does, where it can: as one TensorFlow
            graph from text to answer. The first call takes longer, all others are much faster.

    Raises:
        UserError: nothing there that can be run, or the package that runs it is not installed.

    Attributes:
        is_one_graph: whether it answers as one TensorFlow graph.
        served: what is known of the model: its task, its labels, its tokenizer.
        signatures: for each way to ask, the names of its texts.

    Example:
        >>> predictor = tf_distilbert.Predictor("saved_models/distilbert-sst2")
        >>> list(predictor.predict([{"text": "A gripping film."}]))
        [{'label': 'POSITIVE', 'probabilities': [0.0002, 0.9998]}]
    """

    def __init__(
        self, path: str | Path, task: str | None = None, *, compiled: bool = False
    ) -> None:
        folder = Path(path)
        versions = [p for p in folder.glob("*/saved_model.pb") if p.parent.name.isdigit()]
        if versions and not (folder / "saved_model.pb").exists():
            folder = max((p.parent for p in versions), key=lambda p: int(p.name))
        is_saved_model = (folder / "saved_model.pb").exists()
        # keras-nlp's presets have a file of that name, too.
        is_export = (folder / DESCRIPTION).exists() and not is_preset(folder)
        if task and (is_saved_model or is_export):
            raise UserError(f"--task {task}: {folder} is an export, which has its task")
        self._session = None
        if is_saved_model:
            served, facts = read_description(folder / "assets")
            session = SavedModelSession(folder)
            if isinstance(served.tokenizer, WordPieceTokenizer):
                self._session = session
            run = _as_run(lambda inputs: session(inputs, TOKEN_IDS)[served.output_name])
        elif is_export:
            served, facts = read_description(folder)
            run = _as_run(open_raw(folder, served))
        else:
            model = load_task_model(path, task)
            served, facts = ServedModel.of(model), {}
            run = model_function(model, served)
        options = {key: facts[key] for key in ("long_texts",) if key in facts}
        self.served = served
        self._service: Service = SERVICES[served.task](served, run, **options)
        self.signatures = self._service.signatures
        self._compute = self._service.answer
        self.is_one_graph = self._session is not None
        is_folder = not (is_saved_model or is_export)
        if compiled and is_folder and _goes_into_graphs(served):
            self.is_one_graph = True
            self._compute = tf.function(self._compute, autograph=False, reduce_retracing=True)

    def predict(self, requests: Sequence[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
        """Answer requests, in order.

        Args:
            requests: each a mapping from the names of one of the `signatures` to a text.

        Returns:
            For each request what the signature gives (docs/serving.md), as JSON can write it.

        Raises:
            UserError: a request has other names than any signature.
        """
        for names, group in _groups(requests, self._signature_of):
            texts = {name: np.array([_as_bytes(r[name]) for r in group], object) for name in names}
            answers = self._answer(texts)
            for row in range(len(group)):
                yield _of_row(answers, row)

    def _answer(self, texts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._session is not None:
            return self._session(texts, self._signature_of(texts))
        tensors = {name: tf.constant(list(values), tf.string) for name, values in texts.items()}
        return {n: t.numpy() for n, t in self._compute(**tensors).items()}

    def _signature_of(self, request: Mapping[str, Any]) -> str:
        for signature, names in self.signatures.items():
            if set(names) == set(request):
                return signature
        ways = " or ".join("{" + ", ".join(names) + "}" for names in self.signatures.values())
        given = ", ".join(map(str, request)) or "nothing"
        raise UserError(f"a request with {given}: this model answers {ways}")


def _goes_into_graphs(served: ServedModel) -> bool:
    """Whether tokenizer and backend are TensorFlow's."""
    wordpiece = isinstance(served.tokenizer, WordPieceTokenizer)
    return wordpiece and keras.backend.backend() == "tensorflow"


def _as_run(run: RawRun) -> Run:
    """Take and give tensors, for a file that takes and gives arrays."""
    return lambda inputs: tf.constant(run({name: t.numpy() for name, t in inputs.items()}))


def _groups(
    requests: Sequence[Mapping[str, str]], signature_of: Any
) -> Iterator[tuple[tuple[str, ...], list[Mapping[str, str]]]]:
    """Neighbours of one signature, at most `BATCH_SIZE` together."""
    group: list[Mapping[str, str]] = []
    for request in requests:
        signature_of(request)
        if group and (set(request) != set(group[0]) or len(group) == BATCH_SIZE):
            yield tuple(group[0]), group
            group = []
        group.append(request)
    if group:
        yield tuple(group[0]), group


def _as_bytes(text: str) -> bytes:
    # Half a pair of surrogates is no text; its bytes are no UTF-8, and are left out.
    return text.encode("utf-8", errors="surrogatepass")


def _of_row(answers: Mapping[str, np.ndarray], row: int) -> dict[str, Any]:
    """One text's answers, without what fills up the rows of others."""
    counts = [int(answers[name][row]) for name in _COUNTS if name in answers]
    result = {}
    for name in sorted(answers.keys() - set(_COUNTS)):
        value = answers[name][row]
        if counts:
            value = value[: counts[0]]
        result[name] = _as_json(value)
    return result


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_as_json(part) for part in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if not np.isfinite(value):
        raise UserError("the model's answer is no number; its weights may be damaged")
    # The shortest number that is this float32, not that of its float64.
    return float(str(value)) if isinstance(value, np.floating) else value.item()
