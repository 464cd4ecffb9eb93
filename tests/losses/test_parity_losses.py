"""The objective and every gradient of the student against PyTorch, term by term."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import parity
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.model_files.folder import load_model
from tf_distilbert.model_files.hf_weights import write_tensors
from tf_distilbert.models.masked_language_model import MaskedLanguageModel

pytestmark = pytest.mark.parity
SECTION = "Losses and gradients"
AGAINST = "PyTorch, float64"
TERMS = (
    *("distillation_loss", "mlm_loss", "cosine_loss", "mse_loss"),
    *("relation_loss", "hidden_loss"),
)
WEIGHTS = {
    **{"distillation_loss": 5.0, "mlm_loss": 2.0, "cosine_loss": 1.0, "mse_loss": 0.5},
    **{"relation_loss": 3.0, "hidden_loss": 0.7},
}
OBJECTIVES = {name: {name: 1.0} for name in TERMS} | {"weighted sum": WEIGHTS}


class GradientKeeper(keras.optimizers.SGD):
    """Keeps the gradients that the training step hands over, and updates nothing."""

    def apply(self, gradients, trainable_variables=None):
        self.kept = gradients


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Teacher and student, in PyTorch and loaded from its folders."""
    # Larger weights than elsewhere: at temperature 8 the distributions must still be far from flat.
    models = {"teacher": parity.bert(scale=0.3), "student": parity.distilbert(scale=0.3)}
    ours = {}
    for name, model in models.items():
        ours[name] = load_model(parity.write_folder(tmp_path_factory.mktemp(name), model))
        model.double()
    return SimpleNamespace(ours=ours, theirs=models)


def our_step(pair, weights, batch, temperature, positions, micro_batches):
    """The figures and, under Hugging Face's names, the gradients of one training step."""
    options = {name.replace("_loss", "_weight"): weights.get(name, 0.0) for name in TERMS}
    distiller = Distiller(
        **pair.ours,
        temperature=temperature,
        distillation_positions=positions,
        micro_batches=micro_batches,
        relation_heads=parity.RELATION_HEADS,
        **options,
    )
    distiller.compile(GradientKeeper())
    logs = distiller.train_step(tf.nest.map_structure(tf.constant, batch))
    student = pair.ours["student"]
    # A model whose weights are the gradients: what writes weights for Hugging Face names them.
    carrier = MaskedLanguageModel(student.architecture)
    kept = zip(student.trainable_variables, distiller.optimizer.kept, strict=True)
    gradient_of = {id(variable): gradient for variable, gradient in kept}
    for variable, original in zip(carrier.weights, student.weights, strict=True):
        variable.assign(gradient_of[id(original)])
    return {name: float(value) for name, value in logs.items()}, write_tensors(carrier)


def their_step(pair, weights, batch, temperature, positions):
    """The same from PyTorch: the value of each term, of the sum, and the gradients."""
    student, teacher = pair.theirs["student"], pair.theirs["teacher"]
    arguments = batch, temperature, positions == "masked"
    sums, counts = parity.term_sums(student, teacher, *arguments, inner_terms=True)
    values = {name: sums[name] / counts[name] for name in weights}
    values["loss"] = sum(weight * values[name] for name, weight in weights.items())
    student.zero_grad()
    values["loss"].backward()
    gradients = {name: p.grad for name, p in student.named_parameters()}
    return {name: value.item() for name, value in values.items()}, gradients


def relative_error(name, ours, theirs):
    """|ours - theirs| / |theirs| of one tensor."""
    if theirs[name] is None:  # the objective does not depend on it
        return 0.0 if not ours[name].any() else np.inf
    # A key's bias adds the same to all scores of a query, which the softmax cancels: its true
    # gradient is 0 and both sides have rounding only. The query's bias has the scale to hold it to.
    scale = theirs[name.replace("k_lin.bias", "q_lin.bias")].numpy()
    return np.linalg.norm(ours[name] - theirs[name].numpy()) / np.linalg.norm(scale)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_value_and_gradients(pair, objective, positions, temperature):
    weights = OBJECTIVES[objective]
    batch = parity.masked_batch(seed=11, rows=16, length=24)
    values, gradients = their_step(pair, weights, batch, temperature, positions)
    # Two micro-batches of different token counts: it is the whole batch's mean that is compared.
    for micro_batches in (1, 2):
        logs, our_gradients = our_step(pair, weights, batch, temperature, positions, micro_batches)
        for name, value in values.items():
            row = f"value: {readable(objective if name == 'loss' else name)}"
            error = abs(logs[name] - value) / max(1.0, abs(value))
            parity.at_most(SECTION, row, AGAINST, error, 1e-6)
        assert our_gradients.keys() == gradients.keys()
        errors = {name: relative_error(name, our_gradients, gradients) for name in gradients}
        worst = max(errors, key=errors.get)
        row = f"each of {len(errors)} gradients: {readable(objective)}"
        parity.at_most(SECTION, row, AGAINST, errors[worst], 1e-5, worst)


def test_the_cases_tell_the_choices_apart(pair):
    """The test above would pass for nothing if positions or temperature hardly mattered."""
    batch = parity.masked_batch(seed=11, rows=16, length=24)
    values = [
        their_step(pair, {"distillation_loss": 1.0}, batch, temperature, positions)[0]["loss"]
        for temperature in (1.0, 2.0, 8.0)
        for positions in ("all", "masked")
    ]
    assert np.diff(np.sort(values)).min() > 1e-3
    halves = [parity.part(batch, rows) for rows in (slice(8), slice(8, 16))]
    counts = [(half[0]["padding_mask"].sum(), half[2].sum()) for half in halves]
    assert counts[0][0] != counts[1][0] and counts[0][1] != counts[1][1]


def readable(name):
    return name.removesuffix("_loss").replace("_", " ")
