"""The canary: without the import hook, no other test would check a single shape."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

MODULE = """
from jaxtyping import Float
from torch import Tensor

def mean_over_space(x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel"]:
    return x.flatten(2).mean(2)

def wrong(x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel"]:
    return x.flatten(2).mean(1)
"""


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module `voxplain.canary`, imported the way every module of the package is."""
    import voxplain

    (tmp_path / "canary.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setattr(voxplain, "__path__", [*voxplain.__path__, str(tmp_path)])
    yield importlib.import_module("voxplain.canary")
    sys.modules.pop("voxplain.canary")
    vars(voxplain).pop("canary")


def test_right_shapes_pass(canary):
    assert canary.mean_over_space(torch.ones(2, 3, 4, 5, 6)).shape == (2, 3)


def test_a_wrong_argument_is_caught(canary):
    with pytest.raises(TypeCheckError, match="mean_over_space"):
        canary.mean_over_space(torch.ones(2))


def test_a_wrong_result_is_caught(canary):
    with pytest.raises(TypeCheckError, match="return value"):
        canary.wrong(torch.ones(2, 3, 4, 5))


def test_a_wrong_number_type_is_caught(canary):
    with pytest.raises(TypeCheckError):
        canary.mean_over_space(torch.ones(2, 3, 4, dtype=torch.int64))
