"""The one door for models: what the user typed after --model, as a `Model`."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from voxplain.errors import FileError, InputError, KindError, suggestion
from voxplain.score.bundle import load_bundle
from voxplain.score.callables import PACKAGES, is_call, load_callable
from voxplain.score.exported import load_exported
from voxplain.score.keras import load_keras
from voxplain.score.loaded import RANDOM, Loaded, existing_file, first_line
from voxplain.score.model import Model, first_convolution
from voxplain.score.nnunet import is_nnunet, load_nnunet
from voxplain.score.onnx import load_onnx
from voxplain.score.released import is_released, load_released
from voxplain.score.shipped import load_shipped, shipped
from voxplain.score.sliding import SlidingWindow, as_window, sliding
from voxplain.score.trust import demand_trust
from voxplain.score.weights import TORCH_SUFFIXES, is_torchscript, load_weights, read_checkpoint
from voxplain.types import Head

MODULE_KEYS = ("model", "module", "net", "network")
"""Keys under which a pickled checkpoint may hold the whole network."""


def load_model(
    source: str,
    *,
    weights: Path | str | None = None,
    output: str | None = None,
    head: Head = "auto",
    class_names: Sequence[str] = (),
    trust: Collection[str] = (),
    sliding_window: str | SlidingWindow | None = None,
) -> Model:
    """The model that `source` names, with `weights` put in, ready to be explained.

    `source` is `package.module:callable(option=value)`, a name that `voxplain models` lists, a `.pt2`, `.onnx`,
    `.keras` or `.h5` file, a MONAI bundle folder, a folder of `voxplain train`, or (trusted) a Python file or a pickled
    network.
    Everything that would run code of others raises `TrustError` until `trust` has its name; nothing is downloaded.
    `sliding_window`, such as "sliding_window(roi=[96, 96, 96])", is how a network of patches reads a whole image; a
    bundle's own is used where none is given.
    """
    loaded = _slid(_loaded(str(source), Path(weights) if weights is not None else None, trust), sliding_window)
    return Model.of(
        loaded.module,
        output=output,
        head=loaded.head if head == "auto" else head,
        class_names=class_names or loaded.class_names,
        access=loaded.access,
        reason=loaded.reason,
        fixed_batch=loaded.fixed_batch,
        channels=loaded.channels,
        rank=loaded.rank,
        label=loaded.label,
        notices=loaded.notices,
    )


def _slid(loaded: Loaded, window: str | SlidingWindow | None) -> Loaded:
    """The network under a sliding window, where one was given or came with it."""
    chosen = loaded.window if window is None else as_window(window)
    if chosen is None:
        return loaded
    if sliding(loaded.module) is not None:
        raise InputError(f"model {loaded.label!r} slides windows of its own; leave --sliding-window out")
    rank = loaded.rank or first_convolution(loaded.module)[1]
    told = f"the network reads images window by window: {chosen}"
    return replace(loaded, module=chosen.around(loaded.module, rank), notices=(*loaded.notices, told))


def _loaded(source: str, weights: Path | None, trust: Collection[str]) -> Loaded:
    path, suffix = Path(source), Path(source).suffix.lower()
    if is_call(source):
        return _weighed(load_callable(source, trust), weights, trust)
    if source.strip() and (path.is_dir() or source in shipped()):
        return _folder(path, source, weights, trust)
    if suffix in TORCH_SUFFIXES:
        return _weighed(_pickled(source, trust), weights, trust)
    if suffix in (".safetensors", ".npz"):
        existing_file(path, "model")
        raise _weights_only(source)
    if suffix in (".pt2", ".onnx", ".keras", ".h5", ".hdf5"):
        if weights is not None:
            raise InputError(f"model {source!r} brings its own weights; leave --weights out")
        return _complete(source, suffix, trust)
    if re.fullmatch(r"\s*[A-Za-z_]\w*\s*(\(.*)?", source, re.DOTALL):
        return _weighed(load_callable(source, trust), weights, trust)
    raise _unknown(source)


def _folder(path: Path, source: str, weights: Path | None, trust: Collection[str]) -> Loaded:
    if not path.is_dir():
        return load_shipped(source, weights)
    if is_released(path):
        return load_released(path, weights)
    return load_nnunet(source, weights, trust) if is_nnunet(path) else load_bundle(source, weights, trust)


def _complete(source: str, suffix: str, trust: Collection[str]) -> Loaded:
    if suffix == ".pt2":
        return load_exported(source, trust)
    return load_onnx(source) if suffix == ".onnx" else load_keras(source, trust)


def _weighed(loaded: Loaded, weights: Path | None, trust: Collection[str]) -> Loaded:
    """`loaded` with the weights of a file put in, or with a word on having none."""
    if weights is not None:
        return replace(loaded, notices=(*loaded.notices, *load_weights(loaded.module, weights, trust)))
    return replace(loaded, notices=(*loaded.notices, RANDOM)) if loaded.random else loaded


def _pickled(source: str, trust: Collection[str]) -> Loaded:
    """The network of a trusted `.pt` file: a whole pickled module or a TorchScript program."""
    path = existing_file(Path(source), "model")
    if is_torchscript(path):
        demand_trust(trust, f"model {source!r} is a TorchScript program and would run what is stored in it", source)
        return Loaded(_scripted(source), label=path.stem)
    held = read_checkpoint(path, "model", trust)
    if isinstance(held, nn.Module):
        return Loaded(held, label=path.stem)
    if not isinstance(held, Mapping):
        raise KindError(f"model {source!r} must hold a torch.nn.Module, got {type(held).__name__}")
    key = next((key for key in MODULE_KEYS if isinstance(held.get(key), nn.Module)), None)
    if key is None:
        raise _weights_only(source)
    return Loaded(held[key], label=path.stem, notices=(f"the network was taken from the entry {key!r} of {source!r}",))


def _scripted(source: str) -> nn.Module:
    try:
        module: nn.Module = torch.jit.load(source, map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise FileError(f"model {source!r} is not a readable TorchScript program: {first_line(error)}") from error
    return module


def _weights_only(source: str) -> InputError:
    return InputError(
        f"model {source!r} holds weights only; name the network with --model package.module:callable(...) "
        f"and pass this file as --weights"
    )


def _unknown(source: str) -> InputError | FileError:
    place, _, call = source.partition("(")[0].rpartition(".")
    if place in PACKAGES:
        return InputError(f"model {source!r} must have a colon before the callable; write {place}:{call}(...)")
    if Path(source).exists():
        return FileError(f"model {source!r} must end in .pt2, .onnx, .keras, .h5 or .pt, or be a folder or a callable")
    near = suggestion(source, shipped())
    told = near if "did you mean" in near else ": there is no such file, folder or package.module:callable(...)"
    return FileError(f"model {source!r} does not exist{told}")
