"""Keras 3 models (`.keras`, `.h5`) on the torch backend, channels first on the outside."""

import copy
import importlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, nn

from voxplain.errors import FileError, InputError, VoxplainError, missing_extra, shortened
from voxplain.score.keras_graph import free_name
from voxplain.score.keras_translated import translated
from voxplain.score.loaded import Loaded, existing_file, first_line
from voxplain.score.trust import demand_trust, is_trusted
from voxplain.types import Access

CODE_LAYERS = ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")
"""Layers that carry code or pickles inside the file."""

REASON = "it is a Keras model that runs in Keras's own operations"
"""Why backward rules are out of reach; where the model could be translated they are not."""

Document = dict[str, Any]


def load_keras(source: str, trust: Collection[str] = ()) -> Loaded:
    """The network of a `.keras` or `.h5` file; `TrustError` for layers with code, `FileError` if it is damaged."""
    path = existing_file(Path(source), "model")
    found = sorted(set(_code(_configuration(path))))
    if found:
        demand_trust(trust, f"model {source!r} would run code of its own when loaded ({shortened(found, 3)})", source)
    keras = _keras(source)
    for name in found:
        _register(name)
    model = _model(keras, path, safe=not is_trusted(trust, source))
    module = KerasNetwork(source, model)
    network = translated(model, module.sizes, last=module.last)
    why_not = network if isinstance(network, str) else ""
    return Loaded(
        module if isinstance(network, str) else network,
        label=path.stem,
        access=Access.LAYERS if why_not else None,
        reason=f"{REASON}: {why_not}" if why_not else "",
        fixed_batch=module.sizes[0],
        channels=module.sizes[1],
        rank=len(module.sizes) - 2,
        notices=_ending(model),
    )


def _keras(source: str) -> ModuleType:
    """Keras on torch; an error where the process already runs it on another backend."""
    before = sys.modules.get("keras")
    if before is None:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except ImportError as error:
        raise missing_extra("keras", "keras", f"model {source!r}") from error
    backend = keras.config.backend()
    if backend != "torch":
        raise InputError(
            f"model {source!r} needs Keras on torch, but Keras was imported with backend {backend!r}; "
            "set KERAS_BACKEND=torch before it is imported"
        )
    return keras  # type: ignore[no-any-return]


def _configuration(path: Path) -> Document:
    """The model's description, read as plain JSON from the archive or the HDF5 attribute."""
    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                text: Any = archive.read("config.json")
        else:
            text = _hdf5_configuration(path)
        document = json.loads(text)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, RecursionError) as error:
        raise FileError(f"model {str(path)!r} is not a readable Keras model: {first_line(error)}") from error
    return document if isinstance(document, dict) else {}


def _hdf5_configuration(path: Path) -> str | bytes:
    try:
        import h5py
    except ImportError as error:
        raise missing_extra("h5py", "keras", f"model {str(path)!r}") from error
    with h5py.File(path, "r") as file:
        text: str | bytes = file.attrs["model_config"]
        return text


def _code(value: object) -> Iterator[str]:
    """Layers with code, and objects that Keras would import from a module other than its own."""
    if isinstance(value, list):
        for inner in value:
            yield from _code(inner)
    if not isinstance(value, dict):
        return
    name, module = str(value.get("class_name", "")), value.get("module")
    if name.split(">")[-1] in CODE_LAYERS:
        yield name
    elif isinstance(module, str) and "class_name" in value and not _is_own(module, name):
        yield f"{module}.{name}"
    for inner in value.values():
        yield from _code(inner)


def _is_own(module: str, name: str) -> bool:
    """True for Keras's layers and their parts, but not for its functions that open files or addresses."""
    inside = module == "builtins" or f"{module}.".startswith("keras.")
    return inside and "util" not in module and not (module != "builtins" and name == "function")


def _register(name: str) -> None:
    """Import the module of a trusted class, which registers it with Keras as a side effect."""
    module = name.rpartition(".")[0]
    if module:
        with suppress(ImportError):  # Keras then says which class it misses
            importlib.import_module(module)


def _model(keras: ModuleType, path: Path, *, safe: bool) -> nn.Module:
    try:
        with keras.device("cpu"):
            model: nn.Module = keras.saving.load_model(path, compile=False, safe_mode=safe)
    except VoxplainError:
        raise
    except Exception as error:  # Keras lets many kinds escape from a damaged file
        raise FileError(f"model {str(path)!r} cannot be loaded by Keras: {first_line(error)}") from error
    return model


class KerasNetwork(nn.Module):
    """A Keras model as it is, where it cannot be translated: it takes and returns channels first.

    Its layers stand under their Keras names. Each is followed by an identity that sees its output channels first:
    there, it is tapped.
    """

    def __init__(self, source: str, model: Any) -> None:
        super().__init__()
        shape = _input_shape(model)
        if len(shape) not in (4, 5):
            raise InputError(f"Keras model {source!r} must take one tensor of 2D or 3D images, got inputs {shape}")
        self.network, self.source, self.last = model, source, _channels_last(model)
        self.sizes = (shape[0], shape[-1], *shape[1:-1]) if self.last else shape
        for layer in _layers(model):
            kind = SummaryTap if re.search("Pooling|Dropout", type(layer).__name__) else Tap
            tap = kind(len(shape) - 2, last=self.last)
            self.add_module(free_name(layer.name, partial(hasattr, self)), tap)
            layer.register_forward_hook(tap.pass_through)
        self.eval()

    def forward(self, x: Tensor) -> object:
        """Outputs for a batch (batch, channel, *space); maps come back channels first."""
        import keras

        with keras.device(str(x.device)):
            found = self.network(_to_last(x) if self.last else x, training=False)
        return _channels_first(found, x.ndim) if self.last else found

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A copy with taps of its own: Keras copies by saving and loading, which drops all hooks."""
        import keras

        device = next(self.network.parameters(), torch.empty(0)).device
        with keras.device(str(device)):
            return type(self)(self.source, copy.deepcopy(self.network, memo))


class Tap(nn.Module):
    """Shows a layer's output channels first to whoever hooks it."""

    def __init__(self, rank: int, *, last: bool) -> None:
        super().__init__()
        self.rank, self.last = rank, last

    def forward(self, x: Tensor) -> Tensor:
        """The same tensor (batch, channel, *space)."""
        return x

    def pass_through(self, layer: nn.Module, inputs: object, output: object) -> object:
        """Forward hook of a Keras layer: its output, having been seen channels first."""
        if not isinstance(output, Tensor):
            return None
        if not self.last or output.ndim != self.rank + 2:
            return self(output)
        return _to_last(self(_to_first(output)))


class SummaryTap(Tap, nn.Identity):
    """The tap of a pooling or dropout layer, which only passes on what another layer found."""


def _input_shape(model: Any) -> tuple[int | None, ...]:
    """Sizes of the one input, () where there are several or they are unknown."""
    try:
        shape = model.input_shape
    except (AttributeError, ValueError):
        return ()
    plain = isinstance(shape, tuple) and all(size is None or isinstance(size, int) for size in shape)
    return shape if plain else ()


def _layers(model: Any) -> Iterator[Any]:
    """All layers that compute, those inside nested models included."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        elif type(layer).__name__ != "InputLayer":
            yield layer


def _channels_last(model: Any) -> bool:
    return all(getattr(layer, "data_format", None) != "channels_first" for layer in _layers(model))


def _ending(model: Any) -> tuple[str, ...]:
    """A notice where the last layer already makes probabilities."""
    activation = getattr(getattr(model.layers[-1], "activation", None), "__name__", "")
    if activation not in ("softmax", "sigmoid"):
        return ()
    return (f"the model ends in {activation}: its outputs are probabilities already, so explain class_score",)


def _to_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _to_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def _channels_first(found: object, axes: int) -> object:
    """An output with every map in it, as told by its number of axes, turned channels first."""
    if isinstance(found, dict):
        return {key: _channels_first(inner, axes) for key, inner in found.items()}
    if isinstance(found, list | tuple):
        return [_channels_first(inner, axes) for inner in found]
    return _to_first(found) if isinstance(found, Tensor) and found.ndim == axes else found
