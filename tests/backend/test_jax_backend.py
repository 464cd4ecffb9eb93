"""Keras's JAX backend computes what TensorFlow's does, on any number of devices."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support import backend_scenarios

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX: pip install -e '.[jax]'"
)


@pytest.fixture(scope="module")
def of_jax(tmp_path_factory):
    """Everything that `jax_scenarios` computes, by another process."""
    path = tmp_path_factory.mktemp("jax") / "results.npz"
    program = Path(backend_scenarios.__file__).with_name("jax_scenarios.py")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, program, path], env=environment, check=True, timeout=1800)
    with np.load(path) as results:
        return dict(results)


def part(results, name):
    found = {k.partition("/")[2]: v for k, v in results.items() if k.startswith(f"{name}/")}
    assert found, name
    return found


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, err_msg=name, **tolerance)


@pytest.mark.parametrize("name", sorted(backend_scenarios.COMMON.keys() - {"bfloat16", "float16"}))
def test_both_backends_compute_the_same(of_jax, name):
    expected = backend_scenarios.COMMON[name]()
    assert_same(part(of_jax, name), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_differ_by_their_rounding_alone(of_jax, dtype):
    """By no more than TensorFlow's own differ from float32."""
    exact = backend_scenarios.one_gradient(backend_scenarios.distiller(mse_weight=1e-3))
    rounded, found = backend_scenarios.in_precision(f"mixed_{dtype}"), part(of_jax, dtype)
    assert rounded["skipped_updates"] == found["skipped_updates"] == [0]
    for name in ("loss", "distillation_loss", "mlm_loss", "cosine_loss", "mse_loss", "gradient"):
        allowed = np.linalg.norm(rounded[name] - exact[name])
        assert 0 < allowed < 0.05 * np.linalg.norm(exact[name])
        assert np.linalg.norm(found[name] - exact[name]) < 2 * allowed + 1e-3 * abs(exact[name][0])


def test_any_number_of_steps_at_a_time_sees_every_batch(of_jax):
    found = part(of_jax, "executions")
    for name in ("loss", "val_loss", "limited", "weights"):
        for at_once in (2, 3):
            np.testing.assert_array_equal(found[f"{at_once} {name}"], found[f"1 {name}"])


def test_a_batch_that_devices_cannot_share_is_refused(of_jax):
    said = part(of_jax, "uneven")["said"].tolist()
    message = "a batch of 7 sequences cannot be shared by 2 devices; use a multiple, and drop_"
    assert len(said) == 2 and all(line.startswith(message) for line in said)


def test_tensorflow_leaves_accelerators_to_jax():
    """In a script of one's own, too: it hides them as soon as anything of ours is used."""
    program = (
        "import tensorflow as tf, tf_distilbert\n"
        "hidden = []\n"
        "tf.config.set_visible_devices = lambda devices, kind: hidden.append((devices, kind))\n"
        "tf_distilbert.MaskedLanguageModel\n"
        "assert hidden == [([], 'GPU'), ([], 'TPU')], hidden\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=300)


def test_updates_in_float16_have_the_losses_of_float32(of_jax):
    """20 updates to 1 %, the first of which moves the weights as in float32."""
    found, exact = part(of_jax, "updates_float16"), part(of_jax, "updates")
    assert not found["skipped_updates"].any()
    np.testing.assert_allclose(found["loss"], exact["loss"], rtol=0.01)
    gradient, plain = (
        part(of_jax, "float16")["gradient"],
        backend_scenarios.one_gradient(backend_scenarios.distiller(mse_weight=1e-3))["gradient"],
    )
    assert 0 < np.linalg.norm(gradient - plain) < 0.01 * np.linalg.norm(plain)


DEVICES = ("micro_batches_4", "devices_1", "devices_8", "devices_4_by_2")


@pytest.mark.parametrize("name", DEVICES)
def test_devices_and_micro_batches_give_the_same_updates(of_jax, name):
    assert_same(part(of_jax, name), part(of_jax, "updates"), rtol=1e-5, atol=1e-6)


def test_a_bad_row_on_one_device_skips_the_update_on_all(of_jax):
    found = part(of_jax, "skipped")
    np.testing.assert_array_equal(found["skipped"][:, 0], [0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(found["skipped"][:, 1], [0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(found["moved"] > 0, [True, True, False, True, True])


def test_dropout_follows_its_seed_and_differs_by_device(of_jax):
    once, again, other = (
        part(of_jax, name)["weights"] for name in ("dropped", "dropped_again", "dropped_otherwise")
    )
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 1e-4


def test_one_compilation_a_shape_and_no_second_copy_of_the_weights(of_jax):
    found = part(of_jax, "compilations")
    assert found["compilations"] == [2]
    assert found["donated"].all()


def test_the_fused_attention_is_the_plain_one(of_jax):
    found = part(of_jax, "fused")
    np.testing.assert_allclose(found["fused"], found["plain"], rtol=0, atol=1e-5)
    assert (found["fused"] != found["plain"]).any()  # it was another path


def test_losses_are_the_same_a_few_tokens_at_a_time(of_jax):
    inner = part(of_jax, "inner_terms")
    expected = part(of_jax, "small_chunks") | {f"inner_{name}": inner[name] for name in inner}
    assert_same(part(of_jax, "whole_chunks"), expected, rtol=1e-5, atol=1e-5)
