"""What the benchmark ran on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = ("torch", "torchvision", "monai", "captum", "grad-cam", "torchcam", "zennit", "lime", "shap", "quantus")


def kind_of(device: torch.device) -> str:
    """The kind of machine in words: the accelerator, else processor family and number of cores."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{platform.machine()} {cores()} cores"


def file_stem(kind: str) -> str:
    """The kind as the name of a file."""
    return "-".join(kind.lower().replace("/", " ").split())


def cores() -> int:
    """Processor cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # only where the system can bind a process to cores
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Version of every package that takes part and is there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def devices(name: str) -> list[torch.device]:
    """The devices asked for; 'auto': the processor, and CUDA where there is a device. `ValueError` where none is."""
    available = torch.cuda.is_available()
    if name == "auto":
        return [torch.device("cpu"), *([torch.device("cuda")] if available else [])]
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}")
    if name == "cuda" and not available:
        raise ValueError("device 'cuda' cannot be used: this machine has no CUDA device that torch sees")
    return [torch.device(name)]


def load() -> float | None:
    """Jobs that the machine had on average in the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
