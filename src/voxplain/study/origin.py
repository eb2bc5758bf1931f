"""The provenance of one map: what decided it, and what making it took."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import torch

from voxplain.data.provenance import Provenance
from voxplain.score.memory import Ledger
from voxplain.score.model import Model

if TYPE_CHECKING:
    from voxplain.study.explain import Ready


def provenance(
    model: Model, ready: "Ready", request: Mapping[str, str], seed: int, ledger: Ledger, seconds: float
) -> Provenance:
    """Hashes, specs, versions and circumstances as the request; seconds, calls and memory as the record."""
    return Provenance(
        {
            **request,
            "voxels": ready.image.content_hash,
            "mask": None if ready.mask is None else ready.mask.content_hash,
            "weights": model.weights_hash,
            "model": model.label,
            "output": model.output,
            "head": model.head,
            "seed": seed,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "chunks": dict(ledger.chunks),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        },
        {
            "seconds": round(seconds, 3),
            "forwards": ledger.forwards,
            "backwards": ledger.backwards,
            "peak_memory_bytes": peak_memory(model.device),
        },
    )


def versions() -> dict[str, str]:
    """Versions of everything that computes."""
    return {"python": platform.python_version(), **{name: installed(name) for name in ("voxplain", "torch", "numpy")}}


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
