"""MONAI bundle folders: the network that the configuration describes, its weights, and what the metadata tells.

The configuration is read as plain JSON or YAML first. An expression (`$...`) or a macro (`%...`) anywhere in it, or a
callable off the list in what the network is built from, is code of others and waits for trust.
"""

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn

from voxplain.errors import FileError, InputError, KindError, VoxplainError, missing_extra, shortened
from voxplain.score.bundle_window import bundle_window
from voxplain.score.callables import PACKAGES, find_listed, quiet_options
from voxplain.score.loaded import RANDOM, Loaded, first_line
from voxplain.score.trust import demand_trust, is_trusted
from voxplain.score.weights import load_weights
from voxplain.spec import Spec

STEMS = ("inference", "evaluate", "train")
CONFIGURATIONS = tuple(f"{stem}.{suffix}" for stem in STEMS for suffix in ("json", "yaml", "yml"))
NETWORK_KEYS = ("network_def", "network")
WEIGHTS = Path("models", "model.pt")

Document = dict[str, Any]


def load_bundle(source: str, weights: Path | None = None, trust: Collection[str] = ()) -> Loaded:
    """The network of a bundle folder with `weights`, else with its own `models/model.pt`.

    Raises `FileError` where the folder is no bundle, `TrustError` for expressions and callables off the list.
    """
    folder = Path(source)
    config = _configuration(folder)
    key = next((key for key in NETWORK_KEYS if key in config), None)
    if key is None:
        raise InputError(f"bundle {source!r} must describe its network under {' or '.join(map(repr, NETWORK_KEYS))}")
    trusted = is_trusted(trust, source)
    if trusted:
        module = _trusted_network(folder, config, key)
    else:
        _demand_no_expressions(source, config, trust)
        reached = _reached(config, key)
        module = _network(source, {name: _listed(source, part, trust) for name, part in reached.items()}, key)
    notices = _weigh(module, folder, weights, {*trust, str(folder / WEIGHTS)} if trusted else trust)
    if "preprocessing" in config:
        notices = (*notices, "the bundle's own preprocessing is not applied; say with --prepare what it does")
    window = bundle_window(config)
    return Loaded(module, label=folder.resolve().name, notices=notices, window=window, **_told(folder))


def _weigh(module: nn.Module, folder: Path, weights: Path | None, trust: Collection[str]) -> tuple[str, ...]:
    path = weights or folder / WEIGHTS
    if weights is None and not path.is_file():
        return (f"the bundle has no {WEIGHTS.as_posix()} and {RANDOM}",)
    return load_weights(module, path, trust)


def _configuration(folder: Path) -> Document:
    paths = [folder / "configs" / name for name in CONFIGURATIONS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileError(f"folder {str(folder)!r} must be a MONAI bundle with configs/inference.json or .yaml")
    return _plain(path)


def _plain(path: Path) -> Document:
    """A JSON or YAML file as plain values; YAML tags that build objects are errors."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else _yaml(text, path)
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"bundle file {str(path)!r} cannot be read: {first_line(error)}") from error
    if not isinstance(document, dict):
        raise FileError(f"bundle file {str(path)!r} must hold a table of names, got {type(document).__name__}")
    return document


def _yaml(text: str, path: Path) -> object:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise missing_extra("pyyaml", "monai", f"bundle file {str(path)!r}") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(first_line(error)) from error


def _demand_no_expressions(source: str, config: Document, trust: Collection[str]) -> None:
    found = [text for text in _strings(config) if text.lstrip().startswith(("$", "%"))]
    if found:
        would = f"bundle {source!r} would evaluate its own code ({shortened((text[:60] for text in found), 2)})"
        demand_trust(trust, would, source)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _reached(config: Document, key: str) -> Document:
    """The entries that the network is built from: its own and those it refers to with '@'."""
    reached: Document = {}
    waiting = [key]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in config:
            continue
        reached[name] = deepcopy(config[name])
        references = (text[1:] for text in _strings(reached[name]) if text.startswith("@"))
        waiting += [reference.replace("::", "#").split("#")[0] for reference in references]
    return reached


def _listed(source: str, value: Any, trust: Collection[str]) -> Any:
    """A part of the configuration with every `_target_` spelled in full; raises `TrustError` for one off the list."""
    if isinstance(value, list):
        return [_listed(source, inner, trust) for inner in value]
    if not isinstance(value, dict):
        return value
    part = {key: _listed(source, inner, trust) for key, inner in value.items() if key != "_target_"}
    if "_target_" not in value:
        return part
    target = str(value["_target_"])
    package, _, name = target.rpartition(".")
    longest_first = sorted(PACKAGES, key=len, reverse=True)
    home = next((listed for listed in longest_first if f"{package}.".startswith(f"{listed}.")), package)
    if not package:
        home = "monai.networks.nets"
    if home not in PACKAGES or value.get("_mode_", "default") != "default":
        would = f"bundle {source!r} would run {target!r}, which is not on the list ({shortened(PACKAGES)})"
        demand_trust(trust, would, source)
    options = {key: inner for key, inner in part.items() if not key.startswith("_")}
    quiet = quiet_options(target, find_listed(home, name), Spec(name, (), options))
    return {**part, **quiet, "_target_": f"{home}.{name}"}


def _network(source: str, config: Document, key: str) -> nn.Module:
    try:
        from monai.bundle.config_parser import ConfigParser
    except ImportError as error:
        raise missing_extra("monai", "monai", f"bundle {source!r}") from error
    try:
        module = ConfigParser(config).get_parsed_content(key)
    except VoxplainError:
        raise
    except Exception as error:  # whatever the network or a trusted expression raises
        cause = error.__cause__ or error
        raise InputError(f"bundle {source!r}: its network cannot be built: {first_line(cause)}") from error
    if not isinstance(module, nn.Module):
        raise KindError(f"bundle {source!r}: {key!r} must be a torch.nn.Module, got {type(module).__name__}")
    return module


def _trusted_network(folder: Path, config: Document, key: str) -> nn.Module:
    """The network of a trusted bundle, whose expressions may import the modules that lie beside its configuration."""
    with _importable(folder):
        return _network(str(folder), {**config, "bundle_root": str(folder)}, key)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _told(folder: Path) -> dict[str, Any]:
    """Channels, rank and class names from the metadata, as far as it has them."""
    path = folder / "configs" / "metadata.json"
    formats = _table(_plain(path).get("network_data_format")) if path.is_file() else {}
    image, answer = _first(formats, "inputs", "image"), _first(formats, "outputs", "pred")
    told: dict[str, Any] = {}
    if isinstance(image.get("num_channels"), int):
        told["channels"] = image["num_channels"]
    if isinstance(image.get("spatial_shape"), list) and len(image["spatial_shape"]) in (2, 3):
        told["rank"] = len(image["spatial_shape"])
    names = _table(answer.get("channel_def"))
    if names and all(str(key).isdigit() for key in names):
        told["class_names"] = tuple(str(names[key]) for key in sorted(names, key=lambda key: int(str(key))))
    return told


def _first(formats: Document, side: str, usual: str) -> Document:
    """The usual entry of a side of the data format, or its only one."""
    entries = _table(formats.get(side))
    return _table(entries.get(usual) if usual in entries or len(entries) != 1 else next(iter(entries.values())))


def _table(value: object) -> Document:
    return value if isinstance(value, dict) else {}
