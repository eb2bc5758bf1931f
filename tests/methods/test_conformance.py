"""The checks that we ship for plug-in authors, and a package of others that joins the table."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from voxplain.methods import METHODS, method
from voxplain.methods.base import Map, Method
from voxplain.methods.conformance import failures
from voxplain.types import Access, Quantity

PLUGIN = '''
    """A method of another package: the square of the gradient."""

    from dataclasses import dataclass
    from typing import ClassVar

    from voxplain.methods.base import Map, Method
    from voxplain.types import Access, Quantity


    @dataclass(frozen=True, kw_only=True)
    class SquaredGradient(Method):
        """How fast the score changes, whatever the direction; squared score units per squared input unit."""

        name = "squared_gradient"
        title: ClassVar[str] = "Squared gradient"
        citation: ClassVar[str] = "A dummy package"
        access: ClassVar[Access] = Access.GRADIENT
        quantity: ClassVar[Quantity] = Quantity.SALIENCY
        law: ClassVar[str] = "equals the squared weights of a linear score"
        cost: ClassVar[str] = "2"

        power: int = 2
        """Exponent."""

        def _map(self, score, x):
            values, gradient, classes = score.grad(x)
            return Map(gradient.abs() ** self.power, self.quantity, "squared", score=values, classes=classes)
'''


@pytest.fixture
def package(tmp_path):
    """An installed package with one entry point."""
    (tmp_path / "dummy_methods.py").write_text(textwrap.dedent(PLUGIN))
    info = tmp_path / "dummy_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dummy-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[voxplain.methods]\nsquared_gradient = dummy_methods:SquaredGradient\n")
    return tmp_path


def voxplain(package, *arguments: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(package), *sys.path])
    run = "import sys; from voxplain.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", run, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_package_of_others_is_listed_with_its_options(package):
    listed = json.loads(voxplain(package, "methods", "--json").stdout)
    (theirs,) = [entry for entry in listed if entry["name"] == "squared_gradient"]
    assert theirs["citation"] == "A dummy package"
    assert [option["name"] for option in theirs["options"]] == ["power"]
    assert {entry["name"] for entry in listed} == {*METHODS, "squared_gradient"}


def test_a_package_of_others_is_built_nested_and_conforms(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))
    built = method("squared_gradient(power=2)")
    assert failures(built) == []
    nested = method("ensemble(of=['squared_gradient', 'gradient'], block=1)")
    assert [member.name for member in nested.of] == ["squared_gradient", "gradient"]


@pytest.mark.parametrize("spec", ["gradient", "grad_cam", "occlusion(window=4)"])
def test_our_own_methods_conform(spec):
    assert failures(method(spec), ((2, "classification"), (3, "regression"))) == []


@dataclass(frozen=True, kw_only=True)
class Base(Method):
    """A dummy."""

    name = "dummy"
    title: ClassVar[str] = "Dummy"
    citation: ClassVar[str] = "None"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "none"
    cost: ClassVar[str] = "2"

    def _map(self, score, x):
        values, gradient, classes = score.grad(x)
        return Map(self.change(gradient, score, x), self.quantity, "units", score=values, classes=classes)

    def change(self, gradient, score, x):
        return gradient


def changed(change, **declared):
    return type("Changed", (Base,), {"change": change, "__doc__": "A dummy.", **declared})()


def spoiled(self, gradient, score, x):
    next(score.model.module.parameters()).data.add_(1)
    return gradient


def drawn(self, gradient, score, x):
    return gradient + torch.rand(1)


def only_calls(self, score, x):
    values = score(x)
    return Map(x * values.reshape(-1, *[1] * (x.ndim - 1)), self.quantity, "units", score=values)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (changed(lambda self, gradient, score, x: gradient / 0), "must be finite"),
        (changed(lambda self, gradient, score, x: gradient[:, :, ::2]), "must say where its cells lie"),
        (changed(lambda self, gradient, score, x: gradient, quantity=Quantity.SALIENCY), "must not be negative"),
        (changed(lambda self, gradient, score, x: gradient / gradient.abs().max()), "the map that it gets alone"),
        (changed(drawn), "global random state must be left alone"),
        (changed(drawn), "equal requests must give equal bytes"),
        (changed(spoiled), "the weights must not be changed"),
        (changed(lambda self, gradient, score, x: x.zero_() + gradient), "the image must not be changed"),
        (type("Calls", (Base,), {"_map": only_calls, "__doc__": "A dummy."})(), "works with less"),
        (changed(lambda self, gradient, score, x: gradient, law=""), "law must be declared"),
    ],
)
def test_each_broken_promise_is_named(broken, words):
    found = failures(broken, ((2, "classification"),))
    assert any(words in sentence for sentence in found), found


def test_a_method_that_refuses_a_kind_of_network_is_told():
    found = failures(method("grad_cam(layer='nowhere')"), ((2, "classification"),))
    assert all("it refuses: unknown layer 'nowhere'" in sentence for sentence in found)
    assert found
