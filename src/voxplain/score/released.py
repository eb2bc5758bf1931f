"""Folders that `voxplain train` leaves: the network that model.toml names, with its weights."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxplain.errors import FileError
from voxplain.score.callables import load_callable
from voxplain.score.loaded import Loaded
from voxplain.score.weights import load_weights
from voxplain.types import Head

MODEL, WEIGHTS, PREPARE = "model.toml", "weights.safetensors", "prepare.toml"
"""The files such a folder has."""

HEADS: dict[str, Head] = {"classification": "softmax", "segmentation": "softmax", "regression": "regression"}
"""Task -> how outputs are read."""

SHUFFLED = "shuffled"
"""What model.toml says of the labels where they were put in random order before the training."""

NOTICE = "this network learnt from labels in random order: it is for holding maps against, and knows nothing"


def is_released(path: Path) -> bool:
    """True for a folder with a model.toml."""
    return (path / MODEL).is_file()


def learnt_from_shuffled(path: Path) -> bool:
    """True where the network of such a folder learnt from labels in random order."""
    return _told(path).get("labels") == SHUFFLED


def load_released(path: Path, weights: Path | None = None) -> Loaded:
    """The network of a folder with its weights, or those of another file.

    Raises `FileError` where the folder is not as `voxplain train` wrote it, `TrustError` where it names other code.
    """
    told = _told(path)
    loaded = load_callable(told["network"])
    notices = load_weights(loaded.module, weights or path / WEIGHTS)
    names = tuple(str(name) for name in told.get("class_names", ()))
    if told.get("labels") == SHUFFLED:
        notices = (*notices, NOTICE)
    label = str(told.get("name") or path.resolve().name)
    return Loaded(loaded.module, label=label, class_names=names, notices=notices, head=HEADS[told["task"]])


def _told(path: Path) -> Mapping[str, Any]:
    try:
        table = tomllib.loads((path / MODEL).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{MODEL!r} in {path.name!r} must be readable TOML, got an error at: {error}") from error
    if not isinstance(table.get("network"), str) or table.get("task") not in HEADS:
        raise FileError(f"{MODEL!r} in {path.name!r} must name a network and a task of {', '.join(HEADS)}")
    return table
