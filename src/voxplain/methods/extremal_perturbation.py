"""Extremal perturbations. Fong, Patrick, Vedaldi, ICCV 2019, arXiv:1910.08485, equations 4 to 8."""

from dataclasses import dataclass
from math import pi, prod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.per_axis import listed, per_axis
from voxplain.ops.smooth_mask import SmoothMask, area_loss
from voxplain.score.score import Make, Score
from voxplain.types import Access, Quantity

AREA = 0.1
"""Share of the image that is kept unless told otherwise, as in the paper's code."""

CELLS = 32
"""Cells of the grid along each side unless told otherwise: 7 voxels each in 224, as in the paper."""

KERNEL = 3.0
"""Width of the kernel in cells unless told otherwise: 21 voxels in the paper."""

MOMENTUM = 0.9
"""Of the descent, as in the paper."""

GROWTH = 16.0
"""The area counts for so many times more at the end than at the beginning: 1.0035 a step over the paper's 800 steps."""

NEARLY_NONE = 0.1
"""How much of each voxel is blurred at first to delete a region: with nothing blurred no slope leads on."""

LEAST_SPAN = 1e-3
"""Least range of a score, as a share of its size: one that blurring leaves alone must not be blown up."""


@dataclass(frozen=True, kw_only=True)
class ExtremalPerturbation(Method):
    """The smooth region of a given area that keeps the score highest when all around it is blurred: 1 kept, 0 blurred.

    A mask in 0..1, found by gradient ascent from the image as it is, with nothing random. With several areas the map is
    the mean of their masks (the paper's sum), each mask is a part. Costs 2 forwards a step and area, and 2 + areas.
    """

    name = "extremal_perturbation"
    title: ClassVar[str] = "Extremal perturbation"
    citation: ClassVar[str] = "Fong et al., Extremal perturbations and smooth masks, arXiv:1910.08485"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.MASK
    law: ClassVar[str] = "in 0..1, with the area asked for once the steps suffice"

    area: float | tuple[float, ...] | None = None
    """Share of the image that is kept, or a list of shares; left out: a tenth."""
    area_mm2: float | tuple[float, ...] | None = None
    """Area in square millimetres (2D), instead of `area`."""
    area_mm3: float | tuple[float, ...] | None = None
    """Volume in cubic millimetres (3D), instead of `area`."""
    game: Literal["preserve", "delete"] = "preserve"
    """Keep the mask and blur the rest for the highest score, or blur the mask for the lowest."""
    perturbation: float | Literal["blur", "zero", "mean", "minimum"] = "blur"
    """What is shown instead: blur, zero, mean, minimum or a number, in units of the network's input."""
    steps: int = 300
    """Steps of the ascent; the paper takes 800."""
    step: int | tuple[int, ...] | None = None
    """Voxels a cell of the mask's grid, one number or one an axis; left out: 32 cells a side, more for small areas."""
    sigma: float | tuple[float, ...] | None = None
    """Width of the kernel in voxels, which says how smooth the mask is; left out: three cells."""
    weight: float = 20.0
    """Of the area at the beginning, against the score's whole range f(x) - f(perturbed); it grows 16-fold."""
    rate: float = 0.0004
    """Size of a step, for a mask of one cell's share of the objective."""

    def _check(self) -> None:
        given = [option for option in ("area", "area_mm2", "area_mm3") if getattr(self, option) is not None]
        for option in given:
            self._require(option == given[0], option, f"left out with {given[0]}")
            self._require(min(listed(getattr(self, option)), default=0) > 0, option, "more than 0")
        self._require(max(listed(self.area), default=0) < 1, "area", "less than 1")
        known = not isinstance(self.perturbation, str) or self.perturbation in FILLS
        self._require(known, "perturbation", f"one of {FILLS}")
        self._require(self.steps >= 1, "steps", "at least 1")
        self._require(min(listed(self.step), default=1) >= 1 and self.step != (), "step", "at least 1")
        self._require(min(listed(self.sigma), default=1) > 0 and self.sigma != (), "sigma", "more than 0")
        self._require(self.weight > 0, "weight", "more than 0")
        self._require(self.rate > 0, "rate", "more than 0")

    def _map(self, score: Score, x: Tensor) -> Map:
        size = tuple(x.shape[2:])
        areas = self._voxels(score, size)
        clean, frozen = score.freeze(x)
        masks = self._ascended(frozen, x, clean, self._smooth(size, min(areas)), areas)
        shown = self._shown(x, masks)
        reached = torch.cat([piece.values for piece in frozen.stream(len(masks), shown, like=x)])
        each = masks.reshape(len(x), len(areas), 1, *size).to(x.dtype).unbind(dim=1)
        numbers = {f"score_at_area_{n}": value for n, value in enumerate(reached.reshape(len(x), -1).T, start=1)}
        numbers |= {f"share_of_area_{n}": mask.flatten(1).double().mean(dim=1) for n, mask in enumerate(each, start=1)}
        return Map(
            torch.stack(each).mean(dim=0),
            self.quantity,
            "share kept" if self.game == "preserve" else "share removed",
            parts={f"area_{n}": mask for n, mask in enumerate(each, start=1)} if len(areas) > 1 else {},
            numbers=numbers,
            score=clean,
            classes=frozen.classes,
        )

    def _ascended(self, score: Score, x: Tensor, clean: Tensor, smooth: SmoothMask, areas: list[int]) -> Tensor:
        """The masks (batch * areas, *space) after the last step, sample by sample."""
        cover = baseline(x, self.perturbation)
        span = _span(clean, score(cover)).repeat_interleave(len(areas))
        # From the image as it is: half covered, a network may already see nothing, and no slope leads back.
        start = 1.0 if self.game == "preserve" else NEARLY_NONE
        grid = torch.full((len(span), *smooth.cells), start, dtype=x.dtype, device=x.device)
        speed, voxels = torch.zeros_like(grid), areas * len(x)
        for step in range(self.steps):
            made = smooth(grid)
            gain = self._slope(score, x, made.masks, cover) / span.reshape(-1, *[1] * (x.ndim - 2)).to(x.dtype)
            weight = self.weight * GROWTH ** (step / self.steps)
            slope = smooth.pulled_back(grid, made, gain - weight * area_loss(made.masks, voxels)[1])
            speed = MOMENTUM * speed + (1 - MOMENTUM) * slope
            grid = (grid + self.rate * prod(smooth.cells) * speed).clamp(0, 1)
        return smooth(grid).masks

    def _slope(self, score: Score, x: Tensor, masks: Tensor, cover: Tensor) -> Tensor:
        """The derivative of the reward (the score, or minus the score for 'delete') by the masks: both games alike."""
        slope = torch.empty_like(masks)
        for piece in score.stream_grad(len(masks), self._shown(x, masks), like=x):
            rows = (piece.samples * len(x) // len(masks)).to(x.device)
            slope[piece.samples.to(x.device)] = (piece.gradient * (x[rows] - cover[rows])).sum(dim=1)
        return slope

    def _shown(self, x: Tensor, masks: Tensor) -> Make:
        """Images of which the masks keep (or remove) a part."""
        cover = baseline(x, self.perturbation)

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            rows = index * len(x) // len(masks)
            at, mask = rows.to(x.device), masks[index.to(x.device)][:, None]
            inside, outside = (x[at], cover[at]) if self.game == "preserve" else (cover[at], x[at])
            return outside + mask * (inside - outside), rows

        return make

    def _smooth(self, size: tuple[int, ...], voxels: int) -> SmoothMask:
        """The parametrisation of masks; what was left out fits the image and a ball of so many voxels."""
        rank = len(size)
        radius = (voxels / (pi if rank == 2 else 4 / 3 * pi)) ** (1 / rank)
        step = tuple(max(1, round(min(length / CELLS, radius / KERNEL))) for length in size)
        if self.step is not None:
            step = per_axis(self.step, rank, "extremal_perturbation: step")
        sigma: tuple[float, ...] = tuple(KERNEL * hop for hop in step)
        if self.sigma is not None:
            sigma = per_axis(self.sigma, rank, "extremal_perturbation: sigma")
        return SmoothMask(size, step, sigma)

    def _voxels(self, score: Score, size: tuple[int, ...]) -> list[int]:
        """The areas as whole numbers of voxels."""
        option = next((name for name in ("area_mm2", "area_mm3") if getattr(self, name) is not None), "")
        if not option:
            counts = [share * prod(size) for share in listed(self.area) or (AREA,)]
        else:
            if len(size) != int(option[-1]):
                other = f"area_mm{len(size)}"
                raise OptionError(f"extremal_perturbation: {option} needs a {option[-1]}D image; pass {other}=...")
            if score.spacing_mm is None:
                raise OptionError(
                    f"extremal_perturbation: {option} needs a grid in mm, but this image has none; pass area=..."
                )
            counts = [area / prod(score.spacing_mm) for area in listed(getattr(self, option))]
        voxels = [round(count) for count in counts]
        if min(voxels) < 1 or max(voxels) >= prod(size):
            told = f"{option or 'area'} must be at least a voxel and less than the image's {prod(size)} voxels"
            raise OptionError(f"extremal_perturbation: {told}, got {min(counts):g} to {max(counts):g} voxels")
        return voxels


def _span(clean: Tensor, covered: Tensor) -> Tensor:
    """The score's range (batch,), the unit in which it is weighed against the area; kept away from nothing."""
    size = torch.maximum(clean.abs(), covered.abs())
    return torch.maximum((clean - covered).abs(), LEAST_SPAN * size).clamp_min(torch.finfo(torch.float64).tiny)
