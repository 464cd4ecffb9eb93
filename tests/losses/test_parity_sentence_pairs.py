"""The objectives of sentence encoders against sentence-transformers: values and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from support import parity
from tf_distilbert.losses.sentence_pairs import OBJECTIVES, matryoshka_loss

pytest.importorskip("sentence_transformers", reason="needs the extra `parity`")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity
SECTION = "Losses of sentence encoders"
AGAINST = "sentence-transformers, float64"
TOLERANCE = 1e-10
ROWS, SIZE, SIZES = 16, 24, (24, 8, 3)


class Vectors(torch.nn.Module):
    """In the place of a model: what is to be embedded are the vectors themselves."""

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}

    def get_embedding_dimension(self):
        return SIZE


def loss_of(name, sizes):
    from sentence_transformers.sentence_transformer import losses

    made = {
        "mse": losses.CosineSimilarityLoss,
        "cosent": losses.CoSENTLoss,
        "in_batch_negatives": losses.MultipleNegativesRankingLoss,
    }[name](Vectors())
    return losses.MatryoshkaLoss(made.model, made, list(sizes)) if sizes else made


@pytest.mark.parametrize("sizes", [None, SIZES], ids=["whole", "matryoshka"])
@pytest.mark.parametrize(
    ("name", "texts"),
    [("mse", 2), ("cosent", 2), ("in_batch_negatives", 2), ("in_batch_negatives", 3)],
)
def test_value_and_gradient(name, texts, sizes):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(ROWS, texts, SIZE)) * random.uniform(0.2, 5, (ROWS, texts, 1))
    targets = random.integers(0, 5, ROWS) / 4  # theirs are cast to float32
    if name == "in_batch_negatives":
        targets = np.arange(ROWS * texts, dtype="int32").reshape(ROWS, texts)
    theirs = torch.tensor(vectors, requires_grad=True)
    features = [{"vectors": theirs[:, place]} for place in range(texts)]
    expected = loss_of(name, sizes)(features, torch.tensor(targets))
    expected.backward()
    with tf.GradientTape() as tape:
        ours = tf.constant(vectors)
        tape.watch(ours)
        arguments = ours, tf.constant(targets), tf.ones(ROWS, "float64")
        whole = sizes or (SIZE,)
        found = tf.reduce_mean(matryoshka_loss(OBJECTIVES[name], *arguments, whole))
    gradient = tape.gradient(found, ours).numpy()
    what = f"{name}, {texts} texts{', matryoshka' if sizes else ''}"
    difference = abs(float(found) - expected.item()) / expected.item()
    parity.at_most(SECTION, f"{what}: value", AGAINST, difference, TOLERANCE)
    wanted = theirs.grad.numpy()
    difference = np.abs(gradient - wanted).max() / np.abs(wanted).max()
    parity.at_most(SECTION, f"{what}: gradient", AGAINST, difference, TOLERANCE)
