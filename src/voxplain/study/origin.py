"""The provenance of one map: what decided it, and what making it took."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from voxplain.data.provenance import Provenance
from voxplain.score.memory import Ledger
from voxplain.score.model import Model
from voxplain.spec import text

if TYPE_CHECKING:
    from voxplain.study.ready import Ready

LIBRARIES = {
    "keras": "keras",
    "monai": "monai",
    "timm": "timm",
    "torchvision": "torchvision",
    "voxplain.score.onnx": "onnxruntime",
}
"""Package or module of a network's classes -> the distribution whose version decides what they compute."""


@dataclass(frozen=True, eq=False)
class Cost:
    """What it took to answer a question."""

    ledger: Ledger
    seconds: float
    """From the first question to the last answer."""
    questions: int
    """How many were asked together and share these seconds."""


def provenance(model: Model, ready: "Ready", request: Mapping[str, str], seed: int, cost: Cost) -> Provenance:
    """Hashes, specs, versions and circumstances as the request; seconds, calls and memory as the record."""
    return Provenance({**request, **_given(ready), **_circumstances(model, seed, cost)}, _taken(model, cost))


def _given(ready: "Ready") -> dict[str, Any]:
    """Hashes of everything that was read from files but the weights."""
    return {
        "voxels": ready.image.content_hash,
        "mask": ready.mask and ready.mask.content_hash,
        "segments": ready.segments and ready.segments.content_hash,
        "reference": [one.content_hash for one in ready.references],
    }


def _circumstances(model: Model, seed: int, cost: Cost) -> dict[str, Any]:
    return {
        "weights": model.weights_hash,
        "model": model.label,
        "output": model.output,
        "head": model.head,
        **({"sliding_window": model.windows} if model.windows else {}),
        "seed": seed,
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "execution": text(model.execution, full=True),
        "chunks": dict(cost.ledger.chunks),
        "threads": torch.get_num_threads(),
        "versions": versions(model),
    }


def _taken(model: Model, cost: Cost) -> dict[str, Any]:
    return {
        "seconds": round(cost.seconds, 3),
        "questions": cost.questions,
        "forwards": cost.ledger.forwards,
        "backwards": cost.ledger.backwards,
        "peak_memory_bytes": peak_memory(model.device),
    }


def versions(model: Model) -> dict[str, str]:
    """Versions of everything that computes: ours, and the libraries that classes of the model come from."""
    packages = ("voxplain", "torch", "numpy", *libraries(model))
    return {"python": platform.python_version(), **{name: installed(name) for name in packages}}


def libraries(model: Model) -> list[str]:
    """The libraries of networks whose code the model runs, by name; told by its classes, so that none is imported."""
    classes = {kin for part in model.module.modules() for kin in type(part).__mro__}
    homes = {kin.__module__.partition(".")[0] for kin in classes} | {kin.__module__ for kin in classes}
    return sorted({package for home, package in LIBRARIES.items() if home in homes})


def installed(package: str) -> str:
    """The version of an installed package, or 'unknown'."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def peak_memory(device: torch.device) -> int:
    """Most memory this process has held so far: on the device, or resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
