"""What tests of several kinds of models share."""

import os
from importlib.util import find_spec

import pytest


@pytest.fixture(scope="module")
def keras():
    """Keras on torch, as the loader wants it."""
    if find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    if keras.config.backend() != "torch":
        pytest.skip("Keras already runs on another backend here")
    return keras
