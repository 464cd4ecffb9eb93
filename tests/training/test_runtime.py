"""Precision: what `auto` chooses, and that nothing is emulated unasked."""

import keras
import pytest
import tensorflow as tf

from tf_distilbert.backend import devices
from tf_distilbert.errors import UserError
from tf_distilbert.training import runtime


@pytest.mark.parametrize(("has", "chosen"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_where_the_device_has_it(monkeypatch, has, chosen):
    monkeypatch.setattr(devices, "has_bfloat16", lambda: has)
    assert runtime.set_precision_and_seed("auto", 1) == chosen
    assert keras.config.dtype_policy().name == chosen


def test_a_job_gives_the_precision_back(monkeypatch):
    monkeypatch.setattr(devices, "has_bfloat16", lambda: True)

    @runtime.kept_precision()
    def job(fails):
        runtime.set_precision_and_seed("auto", 1)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        if fails:
            raise UserError("no")
        return 3

    assert job(False) == 3
    with pytest.raises(UserError):
        job(True)
    assert keras.config.dtype_policy().name == "float32"


def test_bfloat16_is_not_emulated(monkeypatch):
    monkeypatch.setattr(devices, "has_bfloat16", lambda: False)
    with pytest.raises(UserError, match="no bfloat16 instructions; use auto or float32"):
        runtime.set_precision_and_seed("mixed_bfloat16", 1)


@pytest.mark.parametrize(
    ("flags", "has"), [("fma avx512_bf16", True), ("fma avx512f", False), ("i8mm bf16", True)]
)
def test_processors_are_known_by_their_flags(monkeypatch, flags, has):
    monkeypatch.setattr(devices.Path, "read_text", lambda _: f"flags\t: {flags}\n")
    assert devices.has_bfloat16() is has


def test_many_models_in_a_process_are_no_retracing(monkeypatch):
    """TensorFlow counts by where a function stands in the source: five of them are one to it."""
    logger = tf.get_logger()
    monkeypatch.setattr(logger, "filters", [])
    heard = []
    monkeypatch.setattr(logger, "handle", lambda r: heard.append(r) if logger.filter(r) else None)

    def call_eight():
        for _ in range(8):
            tf.function(lambda x: x + 1)(tf.constant(1.0))
        logger.warning("something else")
        return [record.getMessage() for record in heard]

    *noise, _ = call_eight()
    assert any("retracing" in message for message in noise)
    heard.clear()
    runtime.start_keras()
    assert call_eight() == ["something else"]
