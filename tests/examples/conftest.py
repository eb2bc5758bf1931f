"""The examples as modules: they lie beside each other in a folder that is no package."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def slices_example(repository: Path) -> Iterator[ModuleType]:
    """examples/brain_tumour_slices.py, with its neighbours in reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "examples"))
        yield importlib.import_module("brain_tumour_slices")


@pytest.fixture(scope="session")
def volumes_example(slices_example: ModuleType) -> ModuleType:
    """examples/volumes_on_anatomy.py."""
    return slices_example.volumes_on_anatomy


@pytest.fixture(scope="session")
def training_example(slices_example: ModuleType) -> ModuleType:
    """examples/fine_tuning.py."""
    return importlib.import_module("fine_tuning")
