"""Weights from safetensors, .npz or .pt files into a network, with a short word on what does not fit."""

import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor, nn

from voxplain.errors import FileError, InputError, VoxplainError, shortened
from voxplain.score.loaded import existing_file, first_line
from voxplain.score.trust import demand_trust, is_trusted

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights", "params")
"""Keys under which training loops store the weights, in the order in which they are looked for."""

PREFIXES = ("module.", "model.", "net.", "network.", "backbone.", "_orig_mod.")
"""What wrappers such as DataParallel, Lightning and torch.compile put before every name."""

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".tar")
SUFFIXES = (".safetensors", ".npz", *TORCH_SUFFIXES)

Weights = dict[str, Tensor]


def load_weights(
    module: nn.Module, path: Path, trust: Collection[str] = (), adapt: Callable[[Weights], Weights] = dict
) -> tuple[str, ...]:
    """Put the weights of a file into `module` and return notices on what was unwrapped on the way.

    `adapt` changes them once their names are the module's and before they are checked. Raises `FileError` for an
    unreadable file, `TrustError` for a pickled one, `InputError` where it does not fit.
    """
    weights, notices = read_weights(path, trust)
    return (*notices, *put_weights(module, weights, str(path), adapt))


def put_weights(
    module: nn.Module, weights: Weights, name: str, adapt: Callable[[Weights], Weights] = dict
) -> tuple[str, ...]:
    """Put weights that were read from `name` into `module`, as `load_weights` does."""
    weights, stripped = _without_prefixes(weights, module.state_dict().keys())
    weights = adapt(weights)
    _check_fit(name, weights, module.state_dict())
    module.load_state_dict(weights, strict=False)  # checked above; batch counters of norms may be missing
    return stripped


def read_weights(path: Path, trust: Collection[str] = ()) -> tuple[Weights, tuple[str, ...]]:
    """The tensors of a weights file by name, and notices on what they were unwrapped from."""
    suffix = existing_file(path, "weights").suffix.lower()
    if suffix == ".safetensors":
        return _from_safetensors(path), ()
    if suffix == ".npz":
        return _from_npz(path), ()
    if suffix in TORCH_SUFFIXES:
        return unwrapped(read_checkpoint(path, "weights", trust), str(path))
    raise FileError(f"weights {str(path)!r} must end in one of {', '.join(SUFFIXES)}")


def read_checkpoint(path: Path, what: str, trust: Collection[str]) -> object:
    """Whatever a torch file holds; anything beyond tensors and plain containers is unpickled only when trusted."""
    name = str(existing_file(path, what))
    if is_torchscript(path):
        raise InputError(f"{what} {name!r} is a TorchScript program, not a checkpoint; pass it as --model")
    if not _is_torch_file(path):
        raise FileError(f"{what} {name!r} is not a file written by torch.save")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # other pickle protocols work or fail, and then say so
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        kind = "module" if what == "model" else "checkpoint"
        demand_trust(trust, f"{what} {name!r} is a pickled {kind} and would run its own code when loaded", name)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        if not is_trusted(trust, name):
            raise _broken(what, name, error) from error
    return _unpickled(path, what)


def _unpickled(path: Path, what: str) -> object:
    """The object of a trusted pickle; its code may raise anything, which is told in one sentence."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{what} {str(path)!r} needs code that cannot be imported here: {first_line(error)}"
        ) from error
    except Exception as error:
        raise _broken(what, str(path), error) from error


def unwrapped(held: object, name: str) -> tuple[Weights, tuple[str, ...]]:
    """The named tensors inside a checkpoint such as {'state_dict': ..., 'epoch': ...}."""
    notices: list[str] = []
    while not isinstance(held, nn.Module) and isinstance(held, Mapping):
        key = next((key for key in WRAPPERS if isinstance(held.get(key), Mapping | nn.Module)), None)
        if key is None:
            break
        notices.append(f"the weights were taken from the entry {key!r} of {name!r}")
        held = held[key]
    entries = held.state_dict() if isinstance(held, nn.Module) else held if isinstance(held, Mapping) else {}
    weights = {str(key): torch.as_tensor(value) for key, value in entries.items() if _is_array(value)}
    if not weights:
        raise InputError(f"weights {name!r} must hold tensors by name, got {type(held).__name__}")
    return weights, tuple(notices)


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub")


def _from_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise _broken("weights", str(path), error) from error


def _from_npz(path: Path) -> Weights:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: torch.from_numpy(np.asarray(archive[name])) for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _broken("weights", str(path), error) from error


def _broken(what: str, name: str, error: BaseException) -> VoxplainError:
    return FileError(f"{what} {name!r} cannot be read, it may be truncated or damaged: {first_line(error)}")


def is_torchscript(path: Path) -> bool:
    """True for an archive of torch.jit.save."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _is_torch_file(path: Path) -> bool:
    """True where the first bytes are those of a zip archive or of a binary pickle."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", *(bytes([0x80, protocol]) for protocol in range(2, 6)))


def _without_prefixes(weights: Weights, wanted: Collection[str]) -> tuple[Weights, tuple[str, ...]]:
    """`weights` with those wrappers' prefixes taken off that make most names fit, the fewest that do."""
    peeled = _peeled(weights, deepest=3)
    taken = max(peeled, key=lambda prefixes: (_matches(peeled[prefixes], wanted), -len(prefixes)))
    return peeled[taken], tuple(f"the prefix {prefix!r} was taken off the names of the weights" for prefix in taken)


def _peeled(weights: Weights, deepest: int) -> dict[tuple[str, ...], Weights]:
    """The weights under every sequence of prefixes that can be taken off them, none included."""
    found: dict[tuple[str, ...], Weights] = {(): weights}
    for prefix in PREFIXES if deepest else ():
        shorter = {name.removeprefix(prefix): value for name, value in weights.items()}
        if shorter.keys() != weights.keys() and len(shorter) == len(weights):
            found |= {(prefix, *rest): deeper for rest, deeper in _peeled(shorter, deepest - 1).items()}
    return found


def _matches(weights: Collection[str], wanted: Collection[str]) -> int:
    return len(set(weights) & set(wanted))


def _check_fit(name: str, given: Weights, wanted: Mapping[str, Tensor]) -> None:
    """Raise in one sentence unless names and shapes agree and every number is finite."""
    if not _matches(given, wanted):
        raise InputError(
            f"weights {name!r} share no name with the model: the file has {shortened(given, 3)}, "
            f"the model wants {shortened(wanted, 3)}"
        )
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in given if key not in wanted]
    reshaped = [
        f"{key} {tuple(given[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if isinstance(tensor, Tensor) and key in given and given[key].shape != tensor.shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    told = [f"{len(keys)} {kind} ({shortened(keys, 4)})" for kind, keys in faults.items() if keys]
    if told:
        raise InputError(f"weights {name!r} do not fit the model: {'; '.join(told)}")
    broken = [key for key, tensor in given.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(f"weights {name!r} must be finite, got NaN or infinity in {shortened(broken, 4)}")
