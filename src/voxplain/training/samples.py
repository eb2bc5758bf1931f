"""Prepared inputs with their truth, kept in memory or in one file beside the run, and served in batches by number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from voxplain.errors import FileError
from voxplain.training.augmentation import Change, stream

Array = npt.NDArray[Any]
Drawn = tuple[int, int]
"""Place in the list of cases, and seed of the changes."""

ORDER, CHANGES = 1, 2
"""Keep the order of an epoch and the changes of its inputs apart."""


@dataclass(frozen=True, eq=False)
class Samples:
    """All cases of a training as tensors; parts of it are lists of numbers."""

    inputs: Array
    """(case, channel, *space), float32."""
    truth: Array
    """(case,) class numbers or values, or (case, *space) labels."""

    def __len__(self) -> int:
        return len(self.inputs)

    def pair(self, number: int) -> tuple[Tensor, Tensor]:
        """Input and truth of one case; copies, so that changes do not reach the store."""
        truth = torch.from_numpy(np.array(self.truth[number]))
        return torch.from_numpy(np.array(self.inputs[number], dtype=np.float32)), truth


def store(shape: Sequence[int], folder: Path, budget: int) -> Array:
    """An empty float32 array: in memory where it fits `budget` bytes, else a file `inputs.npy` mapped into memory."""
    if 4 * int(np.prod(shape)) <= budget:
        return np.empty(tuple(shape), dtype=np.float32)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return np.lib.format.open_memmap(folder / "inputs.npy", mode="w+", dtype=np.float32, shape=tuple(shape))
    except OSError as error:
        raise FileError(f"cannot write {folder.name!r}: {error.strerror}") from error


@dataclass(eq=False)
class Epochs(Sampler[list[Drawn]]):
    """Batches of an epoch: their order, and each input's seed, follow from seed and epoch alone.

    That makes the epoch's number the whole state: a resumed training sees what an uninterrupted one sees.
    """

    numbers: Sequence[int]
    batch: int
    seed: int
    shuffle: bool = True
    epoch: int = 0
    share: tuple[int, int] = (0, 1)
    """Which of how many devices this is: each takes its share of every batch."""

    def __len__(self) -> int:
        return max(1, round(len(self.numbers) / self.batch)) if self.shuffle else -(-len(self.numbers) // self.batch)

    def __iter__(self) -> Iterator[list[Drawn]]:
        order = np.arange(len(self.numbers))
        if self.shuffle:
            order = np.random.default_rng(stream(self.seed, ORDER, self.epoch)).permutation(order)
        # Batches of nearly equal size: a last one of a single input would break batch norm.
        for places in np.array_split(order, len(self)):
            own = places[self.share[0] :: self.share[1]]
            yield [(int(self.numbers[place]), stream(self.seed, CHANGES, self.epoch, int(place))) for place in own]


@dataclass(eq=False)
class Served(Dataset[tuple[Tensor, Tensor]]):
    """Inputs by number and seed, changed at random where a change is given."""

    samples: Samples
    change: Change | None
    dense: bool
    """True where the truth is an image of labels that is changed with the input."""

    def __getitem__(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        number, seed = drawn
        x, truth = self.samples.pair(number)
        if self.change is None:
            return x, truth
        x, labels = self.change(x, truth if self.dense else None, seed)
        return x, truth if labels is None else labels


def loader(served: Served, epochs: Epochs) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches (case, channel, *space) with their truth, in the order of `epochs`."""
    return DataLoader(served, batch_sampler=epochs)
