"""Networks named as `package.module:callable(option=value)`: from the list freely, from anywhere else when trusted."""

import importlib
import importlib.util
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from voxplain.errors import InputError, KindError, OptionError, VoxplainError, missing_extra, shortened, unknown
from voxplain.score.loaded import Loaded, existing_file, first_line
from voxplain.score.trust import demand_trust
from voxplain.spec import Spec, parse

PACKAGES: dict[str, str] = {
    "torchvision.models": "hub",
    "torchvision.models.segmentation": "hub",
    "torchvision.models.video": "hub",
    "timm": "hub",
    "monai.networks.nets": "monai",
    "voxplain.score.networks": "",
}
"""Where callables come from without trust, and the extra that brings each package."""

OWN = "voxplain.score.networks"
"""Where an option `pretrained` is a local file, read without running code."""

DOWNLOADING = ("pretrained", "weights", "checkpoint")
"""How options begin that fetch or unpickle weights."""

BIRTH_SEED = 0
"""A network without a weights file is born with the same random weights every time, so that runs can be repeated."""

NOT_NETWORKS = ("get_", "list_")
"""How callables begin that look up, list or download instead of building."""

Network = Callable[..., object]


def is_call(source: str) -> bool:
    """True for `place:callable...`, the place being a dotted module or a Python file."""
    return _split(source) is not None


def load_callable(source: str, trust: Collection[str] = ()) -> Loaded:
    """The network that `source` names and its options build; its weights are as its callable makes them.

    Raises `TrustError` for a place off the list, `OptionError` for unknown callables and wrong or downloading options,
    `MissingExtra` without the package, `KindError` where the result is no `nn.Module`.
    """
    place, call = _split(source) or (OWN, source)
    spec = parse(call, "model")
    listed = place in PACKAGES
    if not listed:
        would = f"model {source!r} would run {place!r}, which is not on the list ({shortened(PACKAGES)})"
        demand_trust(trust, would, place, f"{place}:{spec.name}", source)
    name = f"{place}:{spec.name}"
    network = find_listed(place, spec.name) if listed else _find_trusted(place, spec.name)
    options = quiet_options(name, network, spec) if listed else dict(spec.options)
    begun = place == OWN and bool(options.get("pretrained"))
    if place == "timm":
        _check_timm_name(str(options["model_name"]))
    module = _built(name, network, () if listed else spec.arguments, options)
    label = str(options["model_name"]) if place == "timm" else spec.name
    notices = (str(vars(module).get("origin", "")),) if begun else ()
    return Loaded(module, label=label, random=listed and not begun, notices=notices)


def _split(source: str) -> tuple[str, str] | None:
    """Place and call of a source; `timm.create_model(...)` may be written with a dot."""
    dotted = re.match(r"timm\.(create_model\b.*)", source, re.DOTALL)
    if dotted:
        return "timm", dotted[1]
    match = re.match(r"([^:('\"]+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?![/\\])(.+)", source, re.DOTALL)
    return (match[1], match[2]) if match else None


def find_listed(package: str, name: str) -> Network:
    """The public callable of that name defined in a package of the list."""
    if package == OWN:
        from voxplain.score.networks import NETWORKS

        table: Mapping[str, Network] = NETWORKS
    else:
        table = _public(_imported(package), package)
    if name not in table:
        raise unknown(f"network of {package}", name, table)
    return table[name]


def _imported(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        root = package.split(".")[0]
        raise missing_extra(root, PACKAGES[package], f"a network of {package}") from error


def _public(module: ModuleType, package: str) -> dict[str, Network]:
    """What a package defines itself: neither private names nor what it imported from elsewhere."""
    if package == "timm":
        return {"create_model": module.create_model}
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith(("_", *NOT_NETWORKS))
        and not (isinstance(value, type) and issubclass(value, Enum))
        and f"{getattr(value, '__module__', '')}.".startswith(f"{package}.")
    }


def quiet_options(name: str, network: Network, spec: Spec) -> dict[str, Any]:
    """The options of a call by name, with every default that would download turned off.

    Raises `OptionError` for arguments the callable does not take and for those that would download.
    """
    signature = inspect.signature(network)
    try:
        bound = signature.bind(*spec.arguments, **spec.options)
    except TypeError as error:
        raise OptionError(f"{name}: {error}; it takes {shortened(signature.parameters)}") from error
    options = dict(bound.kwargs)
    options |= dict(zip(signature.parameters, bound.args, strict=False))
    for key, value in options.items():
        _refuse_download(name, key, value)
    for key, parameter in signature.parameters.items():
        if key.startswith(DOWNLOADING) and parameter.default is not parameter.empty and parameter.default:
            options.setdefault(key, False if parameter.default is True else None)
    return options


def _refuse_download(name: str, key: str, value: object) -> None:
    own_file = name.startswith(f"{OWN}:") and key == "pretrained"
    fetches = bool(value) and not own_file and (key.startswith(DOWNLOADING) or key in ("pretrained_cfg", "hf_hub_id"))
    remote = isinstance(value, str) and ("://" in value or (key == "model_name" and ":" in value))
    if fetches or remote:
        raise OptionError(f"{name}: {key}={value!r} would load weights, but nothing is downloaded; pass --weights FILE")
    if isinstance(value, Spec):
        raise OptionError(f"{name}: {key} must be a literal value, got the call {value.name}(...)")


def _check_timm_name(name: str) -> None:
    import timm

    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())


def _find_trusted(place: str, name: str) -> Network:
    module = _file_module(place) if place.endswith(".py") else _trusted_module(place)
    found = getattr(module, name, None)
    if not callable(found):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown(f"callable of {place}", name, public)
    network: Network = found
    return network


def _trusted_module(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise InputError(f"module {place!r} cannot be imported: {first_line(error)}") from error


def _file_module(place: str) -> ModuleType:
    path = existing_file(Path(place), "model file")
    spec = importlib.util.spec_from_file_location(f"voxplain_trusted_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"model file {place!r} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles of the file look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise InputError(f"model file {place!r} cannot be imported: {first_line(error)}") from error
    return module


def _built(name: str, network: Network, arguments: tuple[Any, ...], options: dict[str, Any]) -> nn.Module:
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore", FutureWarning)  # some speak of initial weights, which do not stay
            torch.manual_seed(BIRTH_SEED)
            module = network(*arguments, **options)
    except VoxplainError:
        raise
    except ImportError as error:
        raise InputError(f"{name} needs a package that is not installed: {first_line(error)}") from error
    except Exception as error:  # networks complain in many ways about their options
        raise OptionError(f"{name}: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise KindError(f"{name} must build a torch.nn.Module, got {type(module).__name__}")
    return module
