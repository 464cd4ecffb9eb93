"""AdamW and the schedule against PyTorch's and the reference's."""

import keras
import numpy as np
import pytest

from tf_distilbert.training.optimizer import AdamW, WarmupThenDecay


def test_schedule_values():
    schedule = WarmupThenDecay(peak=4.0, warmup_steps=4, total_steps=12)
    rates = [float(schedule(step)) for step in range(14)]
    expected = [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0, 0]
    np.testing.assert_allclose(rates, expected, atol=1e-6)


def test_schedule_without_warmup_starts_at_the_peak():
    assert float(WarmupThenDecay(2.0, 0, 10)(0)) == 2.0


@pytest.mark.parity
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_equals_pytorchs(weight_decay):
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    generator = np.random.default_rng(0)
    start = generator.standard_normal((5, 3)).astype("float32")
    # Tiny gradients: epsilon matters, and where it is added.
    gradients = 1e-5 * generator.standard_normal((20, 5, 3)).astype("float32")
    parameter = torch.nn.Parameter(torch.tensor(start))
    theirs = torch.optim.AdamW(
        [parameter], lr=1e-2, betas=(0.9, 0.98), eps=1e-6, weight_decay=weight_decay
    )
    variable = keras.Variable(start, name="kernel")
    ours = AdamW(1e-2, weight_decay=weight_decay)
    ours.build([variable])
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        ours.apply([keras.ops.convert_to_tensor(gradient)])
        np.testing.assert_allclose(variable.numpy(), parameter.detach().numpy(), rtol=2e-6)


@pytest.mark.parity
def test_the_schedule_equals_the_references():
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-4)
    theirs = transformers.get_linear_schedule_with_warmup(optimizer, 7, 40)
    ours = WarmupThenDecay(5e-4, 7, 40)
    for step in range(40):
        assert float(ours(step)) == pytest.approx(theirs.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        theirs.step()


def test_biases_and_norms_do_not_decay():
    names = ("kernel", "bias", "gamma", "beta", "output_bias", "token_table")
    variables = [keras.Variable(np.ones(2, "float32"), name=name) for name in names]
    optimizer = AdamW(0.1, weight_decay=0.5)
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(2) for _ in names])
    moved = {v.name for v in variables if not np.allclose(v.numpy(), 1.0)}
    assert moved == {"kernel", "token_table"}
