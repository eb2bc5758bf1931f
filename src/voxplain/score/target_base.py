"""What every target is: the way from an output to one number a sample.

Class and region are chosen once, from the clean input, for each sample; what was chosen is a `Choice`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.errors import InputError
from voxplain.score.choice import Choice, chosen_class, resolved, scores
from voxplain.spec import Options
from voxplain.types import Head


@dataclass(frozen=True)
class Target(Options, ABC):
    """Output (batch, class, *space) -> one number a sample."""

    unit_words: ClassVar[str]
    """What one unit of the score is, with default options."""
    local: ClassVar[bool] = False
    """Whether voxels outside the chosen region have no say in the number."""

    @property
    def unit(self) -> str:
        """What one unit of the score is."""
        return self.unit_words

    @abstractmethod
    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        """Fix class and region from the clean output; raises `InputError` where the output is of another kind."""

    @abstractmethod
    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        """The same number of each sample for every class or output (batch, class), differentiable."""

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        """The meant number of each sample (batch,), differentiable."""
        return self.read_all(output, choice, head).gather(1, choice.index[:, None].to(output.device))[:, 0]

    def scale(self, voxel_mm3: float | None) -> float:
        """What numbers read from the output are multiplied by; `voxel_mm3` is the volume of its voxels, if known."""
        return 1.0

    @abstractmethod
    def words(self, index: int, class_names: Sequence[str]) -> str:
        """What is meant, in words with class names."""


def class_words(index: int, class_names: Sequence[str]) -> str:
    """'class 2 (pituitary)', or 'class 2' where it has no name."""
    return f"class {index} ({class_names[index]})" if index < len(class_names) else f"class {index}"


@dataclass(frozen=True)
class OfClasses(Target):
    """A number of one class of a segmentation, or of several that are taken as one."""

    index: int | tuple[int, ...] = 1
    """Class number, or a list of several that are taken as one, such as all parts of a tumour."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The class, or the several that are taken as one."""
        return self.index if isinstance(self.index, tuple) else (self.index,)

    def _check(self) -> None:
        distinct = bool(self.classes) and len(set(self.classes)) == len(self.classes)
        self._require(distinct, "index", "a class number or a list of different ones")

    def _first(self, output: Tensor, head: Head) -> Tensor:
        """The first class of each sample; raises where there is none, or several do not exclude each other."""
        if output.ndim < 4:
            raise InputError(
                f"{self.name}: the model gives one number a class {tuple(output.shape)}; use class_score as target"
            )
        values = scores(output, head).detach()
        index, *_ = (chosen_class(values, one, self.name) for one in self.classes)
        if len(self.classes) > 1 and resolved(output, head) != "softmax":
            raise InputError(f"{self}: several classes must exclude each other to be taken as one; name one class")
        return index

    def _named(self, class_names: Sequence[str]) -> str:
        return " + ".join(class_words(one, class_names) for one in self.classes)


def told(part: Tensor | None) -> Tensor:
    """A part of a choice that this kind of target always makes."""
    if part is None:
        raise RuntimeError("a target read a choice that another kind of target made")
    return part
