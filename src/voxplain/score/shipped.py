"""Small networks that come with the package: trained on phantoms alone, to try things out, never for patients."""

import tomllib
from pathlib import Path
from typing import Any

from voxplain.errors import InputError
from voxplain.score.loaded import Loaded
from voxplain.score.released import MODEL, is_released, load_released

FOLDER = Path(__file__).parent / "trained"
"""One folder a network, as `voxplain train` wrote it; scripts/ship_weights.py fills it."""

NOTICE = "this network learnt from simulated images (phantoms) alone: it is for trying things out, never for patients"


def shipped() -> dict[str, Path]:
    """Name -> folder of every network that comes trained; a dash in the name keeps it apart from callables."""
    return {path.name: path for path in sorted(FOLDER.iterdir()) if is_released(path)} if FOLDER.is_dir() else {}


def model_folder(source: str) -> Path:
    """The folder that a model as typed stands for: one of that path, else the shipped one of that name."""
    path = Path(source)
    return path if path.is_dir() else shipped().get(source, path)


def load_shipped(name: str, weights: Path | None = None) -> Loaded:
    """The network of this name with the weights it was shipped with; raises `InputError` for any others."""
    if weights is not None:
        raise InputError(f"model {name!r} brings its own weights; leave --weights out")
    loaded = load_released(shipped()[name])
    return Loaded(
        loaded.module, label=name, class_names=loaded.class_names, notices=(*loaded.notices, NOTICE), head=loaded.head
    )


def facts(name: str) -> dict[str, Any]:
    """What model.toml says of a shipped network: network, task, class names, scores, command, recipe ..."""
    return tomllib.loads((shipped()[name] / MODEL).read_text("utf-8"))
