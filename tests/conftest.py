"""What all tests share: quiet TensorFlow, fixed seeds, the optional folder of real data."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import pytest


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(1)


@pytest.fixture
def shared():
    """The folder of real text and models, where there is one."""
    folder = os.environ.get("TF_DISTILBERT_SHARED")
    if not folder:
        pytest.skip("set TF_DISTILBERT_SHARED to the folder of real text and models")
    return Path(folder)
