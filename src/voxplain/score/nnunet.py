"""Folders that nnU-Net v2 leaves after training: plans.json, dataset.json and a checkpoint for each fold."""

import json
import pydoc
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from voxplain.errors import FileError, InputError, KindError, missing_extra, shortened
from voxplain.score.loaded import Loaded, first_line
from voxplain.score.nnunet_plans import Document, configuration, is_by_regions, label_names, preparation
from voxplain.score.nnunet_windows import PlannedWindows
from voxplain.score.trust import demand_trust, is_trusted
from voxplain.score.weights import put_weights, read_checkpoint, unwrapped

ARCHITECTURES = "dynamic_network_architectures."
"""The package that nnU-Net builds its networks with."""

CHECKPOINT = "checkpoint_final.pth"


def is_nnunet(folder: Path) -> bool:
    """True for a folder with the plans and the data set of an nnU-Net."""
    return (folder / "plans.json").is_file() and (folder / "dataset.json").is_file()


def load_nnunet(source: str, weights: Path | None = None, trust: Collection[str] = ()) -> Loaded:
    """The network of a training folder under a sliding window, the mean of its folds or that of one checkpoint.

    Images go in as (batch, channel, i, j, k), prepared as `nnunet_plans.preparation` says. Raises `TrustError` for
    checkpoints that hold more than tensors (nnU-Net's own do), `FileError` and `InputError` for a folder that is not
    as nnU-Net writes it, `MissingExtra` without its packages.
    """
    folder = Path(source)
    plans, about = (read_table(folder / name) for name in ("plans.json", "dataset.json"))
    paths = [weights] if weights is not None else _checkpoints(folder)
    if is_trusted(trust, source):
        trust = {*trust, *map(str, paths)}
    held = [_checkpoint(path, trust) for path in paths]
    name = str(held[0]["init_args"]["configuration"])
    chosen = configuration(plans, name)
    networks = [_network(source, chosen, about, trust) for _ in held]
    for network, one, path in zip(networks, held, paths, strict=True):
        put_weights(network, unwrapped(one["network_weights"], str(path))[0], str(path))
    module = PlannedWindows(networks, chosen["patch_size"], plans["transpose_forward"])
    return Loaded(
        module,
        label=f"nnunet {name}",
        channels=len(about["channel_names"]),
        rank=len(chosen["patch_size"]),
        class_names=label_names(about),
        head="multi_label" if is_by_regions(about) else "softmax",
        notices=_notices(paths, held[0], chosen),
    )


def planned_preparation(folder: Path) -> tuple[Document, tuple[str, ...]]:
    """The options of a `Prepare` for the images of a training folder, and what differs from nnU-Net's own steps.

    The configuration stands last in the name that nnU-Net gives the folder. Raises `InputError` where it does not.
    """
    plans, name = read_table(folder / "plans.json"), folder.resolve().name.rpartition("__")[2]
    known = list(plans.get("configurations", {}))
    if name not in known and len(known) != 1:
        raise InputError(
            f"the name of the nnU-Net folder {folder.name!r} must end in its configuration, one of {', '.join(known)}; "
            "rename it or pass --prepare"
        )
    return preparation(plans, name if name in known else known[0])


def read_table(path: Path) -> Document:
    """A JSON file with a table of names; raises `FileError` for anything else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"nnU-Net file {str(path)!r} cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise FileError(f"nnU-Net file {str(path)!r} must hold a table of names, got {type(found).__name__}")
    return found


def _checkpoints(folder: Path) -> list[Path]:
    """The final checkpoint of each fold."""
    paths = sorted(folder.glob(f"fold_*/{CHECKPOINT}"))
    if not paths:
        raise FileError(f"folder {str(folder)!r} must hold fold_0/{CHECKPOINT} or that of another fold")
    return paths


def _checkpoint(path: Path, trust: Collection[str]) -> Mapping[str, Any]:
    held = read_checkpoint(path, "checkpoint", trust)
    if not isinstance(held, Mapping) or not {"init_args", "network_weights"} <= held.keys():
        raise FileError(f"checkpoint {str(path)!r} must be one of nnU-Net, with init_args and network_weights")
    return held


def _network(source: str, chosen: Document, about: Document, trust: Collection[str]) -> nn.Module:
    """The network that the plans describe, with random weights."""
    described = chosen["architecture"]
    options = dict(described["arch_kwargs"])
    for name in described.get("_kw_requires_import", ()):
        options[name] = options[name] and _located(source, str(options[name]), trust)
    kind = _located(source, str(described["network_class_name"]), trust)
    outputs = len(label_names(about))
    try:
        with torch.random.fork_rng(devices=[]):
            module = kind(
                input_channels=len(about["channel_names"]), num_classes=outputs, **options, deep_supervision=False
            )
    except Exception as error:  # networks complain in many ways about their options
        raise InputError(f"nnU-Net {source!r}: its network cannot be built: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise KindError(f"nnU-Net {source!r}: its network must be a torch.nn.Module, got {type(module).__name__}")
    return module


def _located(source: str, name: str, trust: Collection[str]) -> Any:
    """The class of that name: torch's layers and nnU-Net's own networks freely, others when the folder is trusted."""
    if name.startswith("torch.nn.") and hasattr(nn, name.rpartition(".")[2]):
        return getattr(nn, name.rpartition(".")[2])
    own = name.startswith(ARCHITECTURES)
    if not own:
        demand_trust(trust, f"nnU-Net {source!r} would run {name!r}, which is neither nnU-Net's nor torch's", source)
    try:
        found = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        raise InputError(f"nnU-Net {source!r}: {name!r} cannot be imported: {first_line(error)}") from error
    if found is None and own:
        raise missing_extra("dynamic_network_architectures", "nnunet", f"nnU-Net {source!r}")
    if found is None:
        raise InputError(f"nnU-Net {source!r}: {name!r} cannot be imported")
    return found


def _notices(paths: list[Path], held: Mapping[str, Any], chosen: Document) -> tuple[str, ...]:
    folds = shortened(path.parent.name for path in paths)
    told = [f"nnU-Net's checkpoint of {folds}" + (", the mean of their logits" if len(paths) > 1 else "")]
    if held.get("inference_allowed_mirroring_axes"):
        told.append("nnU-Net's mirrored passes are left out, so its own prediction is a little smoother")
    size = " x ".join(map(str, chosen["patch_size"]))
    told.append(f"images larger than its patch ({size}) are read in windows, whose layers cannot be tapped")
    return tuple(told)
