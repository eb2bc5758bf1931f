"""A trained network as a folder that speaks for itself: weights, preparation, and what it is in words and numbers."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from voxplain.data.writing import written_beside
from voxplain.score.released import MODEL, PREPARE, WEIGHTS
from voxplain.toml import toml
from voxplain.training.keeping import save_weights
from voxplain.training.recipe import Recipe

PACKAGES = ("voxplain", "torch", "lightning", "torchvision", "monai", "timm", "scikit-learn", "numpy")
"""Whose versions are written down."""


def release(
    folder: Path, module: nn.Module, recipe: Recipe, *, network: str, classes: Sequence[str], facts: Mapping[str, Any]
) -> None:
    """Write `weights.safetensors`, `prepare.toml` and `model.toml`, the last one when the others are there.

    `network` is the spec with its number of outputs, `facts` what else model.toml shall say (plain values).
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(module, folder / WEIGHTS)
    recipe.prepare.write(folder / PREPARE)
    table = {
        "network": network,
        "task": recipe.task,
        "class_names": list(classes),
        "unit": recipe.unit,
        **facts,
        "versions": versions(),
        **recipe_tables(recipe),
    }
    with written_beside(folder / MODEL) as beside:
        beside.write_text(toml(table), "utf-8")


def recipe_tables(recipe: Recipe) -> dict[str, Any]:
    """The recipe under the names of TOML tables: recipe, recipe.prepare ..."""
    table = recipe.table()
    nested = {f"recipe.{key}": value for key, value in table.items() if isinstance(value, Mapping)}
    return {"recipe": {key: value for key, value in table.items() if not isinstance(value, Mapping)}, **nested}


def versions() -> dict[str, str]:
    """Versions of the software that decides the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
