"""Files that would run code when loaded: each makes a folder, so that a test can prove that nothing ran."""

import os
import pickle
import zipfile
from pathlib import Path

import torch
from torch import nn


class Payload:
    """Unpickles by making the folder `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.marker,)


def pickled(marker: Path) -> bytes:
    """A payload as plain pickle."""
    return pickle.dumps(Payload(marker))


def checkpoint(path: Path, marker: Path) -> Path:
    """A file of torch.save whose state dict carries a payload."""
    torch.save({"state_dict": {"weight": torch.ones(1)}, "extra": Payload(marker)}, path)
    return path


def edited(path: Path, target: Path, members: dict[str, bytes]) -> Path:
    """A copy of a zip archive with members (named below its root) replaced or added."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        root = source.namelist()[0].split("/")[0]
        new = {f"{root}/{name}": content for name, content in members.items()}
        for name in source.namelist():
            copy.writestr(name, new.pop(name, None) or source.read(name))
        for name, content in new.items():
            copy.writestr(name, content)
    return target


def member(path: Path, name: str) -> bytes:
    """One member of a zip archive, named below its root."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"{archive.namelist()[0].split('/')[0]}/{name}")


def small_network(channels: int = 1, rank: int = 2, seed: int = 0) -> nn.Module:
    """A classifier of three classes with a batch norm whose statistics are not the defaults."""
    convolution, norm, pool = {
        2: (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d),
        3: (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d),
    }[rank]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential()
        network.add_module("conv", convolution(channels, 4, 3, padding=1))
        network.add_module("norm", norm(4))
        network.add_module("relu", nn.ReLU())
        network.add_module("pool", pool(1))
        network.add_module("flat", nn.Flatten())
        network.add_module("fc", nn.Linear(4, 3))
        for tensor in (network.norm.running_mean, network.norm.running_var):
            tensor.uniform_(0.5, 1.5)
    return network.eval()


def batch(*shape: int, seed: int = 1) -> torch.Tensor:
    """A random input."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
