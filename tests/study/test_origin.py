"""What decided a map: the versions of all code that computed it, and of no other."""

import sys
from importlib.metadata import version

import pytest
from torch import nn

from voxplain.score.model import Model
from voxplain.study.origin import LIBRARIES, installed, versions

OURS = {"python", "voxplain", "torch", "numpy"}


def network(home: str) -> nn.Module:
    """A network whose inner part is of a class that some module defines."""
    part = type("Part", (nn.Identity,), {"__module__": home})
    return nn.Sequential(nn.Conv2d(1, 1, 3), type("OwnPart", (part,), {})())


@pytest.mark.parametrize(
    ("home", "package"),
    [
        ("timm.models.resnet", "timm"),
        ("torchvision.ops.misc", "torchvision"),
        ("monai.networks.nets.unet", "monai"),
        ("keras.src.layers.layer", "keras"),
        ("voxplain.score.onnx", "onnxruntime"),
    ],
)
def test_the_library_a_network_comes_from_has_its_version_told_without_an_import(home, package, monkeypatch):
    if installed(package) == "unknown":
        pytest.skip(f"{package} is not installed")
    module = network(home)
    monkeypatch.setitem(sys.modules, package, None)  # importing it now raises
    told = versions(Model.of(module))
    assert set(told) == OURS | {package}
    assert told[package] == version(package)


def test_installed_libraries_a_network_does_not_come_from_are_left_out():
    assert set(versions(Model.of(nn.Conv2d(1, 1, 3)))) == OURS
    assert set(versions(Model.of(network("timmothy.models")))) == OURS


def test_a_real_network_of_a_library_is_recognised():
    models = pytest.importorskip("torchvision").models
    assert set(versions(Model.of(models.squeezenet1_1(num_classes=2)))) == OURS | {"torchvision"}


def test_the_named_libraries_are_those_the_loaders_know():
    assert {"monai", "timm", "torchvision"} <= set(LIBRARIES)
