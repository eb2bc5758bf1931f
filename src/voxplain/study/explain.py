"""One case explained: prepared, asked, and every map brought back onto the image's own grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from voxplain.data.attribution import Attribution, Coarse
from voxplain.data.image import Image, check_voxels
from voxplain.data.load import load_image, load_mask
from voxplain.data.prepare import Prepare, Prepared, prepare_mask
from voxplain.data.slices import axial_slice
from voxplain.data.way_back import Returned, bring_back, cell_grid
from voxplain.errors import OptionError
from voxplain.methods import Map, Method, method
from voxplain.score.memory import Ledger, parse_bytes
from voxplain.score.model import Model
from voxplain.score.prediction import Prediction, prediction
from voxplain.score.score import Score
from voxplain.score.target import Target, target
from voxplain.space.grid import Grid
from voxplain.spec import text
from voxplain.study.certify import certificate
from voxplain.study.origin import provenance
from voxplain.types import Quantity


@dataclass(frozen=True, eq=False)
class Ready:
    """A case on the model's doorstep: the batch of one, its grid, and what the model says about it."""

    image: Image
    prepared: Prepared
    x: Tensor
    """(1, channel, *space)."""
    mask: Image | None
    region: Tensor | None
    """The mask on the tensor's grid (1, *space)."""
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class Explainer:
    """A model, its preparation and the circumstances under which maps are made."""

    model: Model
    prepare: Prepare = field(default_factory=Prepare)
    budget: int | None = None
    seed: int = 0
    verify: bool = False
    """Make every map twice and say whether the bytes are equal."""

    def ready(self, image: Image, mask: Image | None = None, slice_index: int | None = None) -> Ready:
        """Check and prepare a case, and ask the model about it once."""
        if slice_index is not None:
            image = axial_slice(image, slice_index)
            mask = None if mask is None else axial_slice(mask, slice_index)
        check_voxels(image)
        rank = self.model.rank or (2 if image.grid.is_2d else 3)
        prepared = self.prepare(image, rank)
        x = torch.from_numpy(prepared.values)[None].to(self.model.device, self.model.dtype)
        region = None if mask is None else torch.from_numpy(prepare_mask(mask, prepared))[None]
        score = Score(self.model, "class_score", budget=self.budget)
        told = prediction(score.output(x), self.model)
        _check_names(told)
        return Ready(image, prepared, x, mask, region, told)

    def maps(self, ready: Ready, target: Target | None, method: Method) -> list[Attribution]:
        """The method's maps of one case on the image's own grid: one, or one a layer."""
        asked = target or ready.prediction.default_target
        started, ledger = time.perf_counter(), Ledger()
        found = method(self._score(ready, asked, ledger), ready.x)
        seconds = time.perf_counter() - started
        again = method(self._score(ready, asked, Ledger()), ready.x) if self.verify else None
        singles = _singles(found, ready)
        twins = [None] * len(singles) if again is None else _singles(again, ready)
        return [
            self._attribution(ready, asked, method, single, twin, ledger, seconds)
            for single, twin in zip(singles, twins, strict=True)
        ]

    def _score(self, ready: Ready, asked: Target, ledger: Ledger) -> Score:
        spacing = _spacing(ready)
        return Score(self.model, asked, spacing_mm=spacing, mask=ready.region, budget=self.budget, ledger=ledger)

    def _attribution(
        self, ready: Ready, asked: Target, method: Method, found: Map, twin: Map | None, ledger: Ledger, seconds: float
    ) -> Attribution:
        cells = _cells(found, ready)
        back = _returned(found.values, found.quantity, ready, cells)
        request = {"method": text(method, full=True), "target": text(asked, full=True), "prepare": text(self.prepare)}
        return Attribution(
            values=back.values,
            grid=ready.image.grid,
            quantity=found.quantity,
            method=text(method),
            target=text(asked),
            target_words=asked.words(_explained(found), self.model.class_names),
            unit=found.unit,
            channels=_channels(len(back.values), ready),
            layer=found.layer,
            evidence="absolute" if found.derivative else "positive",
            standard_error=_optional(found.standard_error, found.quantity, ready, cells),
            coarse=None if cells is None else Coarse(_on_cells(found.values), cells),
            parts={name: _returned(part, found.quantity, ready, None).values for name, part in found.parts.items()},
            numbers={**_numbers(found), "sum_on_image": back.sum_on_image},
            notes=found.notes,
            certificate=certificate(found, back, twin, self.model, ledger),
            provenance=provenance(self.model, ready, request, self.seed, ledger, seconds),
            image=ready.image,
        )


def explain(
    model: Model | nn.Module,
    image: Image | str | Any,
    method: str | Method | Sequence[str | Method] = "grad_cam",
    *,
    target: str | Target | None = None,
    prepare: Prepare | None = None,
    mask: Image | str | Any = None,
    slice: int | None = None,
    device: str = "cpu",
    memory: str | int | None = None,
    seed: int = 0,
    verify: bool = False,
) -> Attribution | list[Attribution]:
    """Why a model says what it says about one image, as a map on the image's own grid.

    Parameters
    ----------
    model
        A `voxplain.Model` (see `voxplain.load`) or any `torch.nn.Module`; it is copied and never changed.
    image
        An `Image`, a path, or a mapping of channel names to paths.
    method
        A spec such as `"integrated_gradients(steps=50)"`, a method, or several of them.
    target
        A spec such as `"class_score(2)"`; left out: the predicted class, the largest predicted region, or the value.
    prepare
        How the image becomes the network's input; left out: its voxels as they are.
    mask
        An `Image` or a path, for targets over a mask and for measuring maps against it.
    slice
        Axial slice of a volume, for a model that reads 2D images.
    memory
        Budget in bytes, or text such as `"4GB"`; left out: half of what is free.

    Returns one `Attribution`, or a list where several methods (or layers) were asked for.
    Raises `InputError` and its kin in one sentence for everything a user can put right.

    """
    made = model if isinstance(model, Model) else Model.of(model)
    budget = parse_bytes(memory) if isinstance(memory, str) else memory
    explainer = Explainer(made.on(device), prepare or Prepare(), budget, seed, verify)
    picture = image if isinstance(image, Image) else load_image(image)
    region = mask if mask is None or isinstance(mask, Image) else load_mask(mask, like=picture)
    ready = explainer.ready(picture, region, slice)
    several = not isinstance(method, str | Method)
    methods = [as_method(one) for one in ([method] if isinstance(method, str | Method) else method)]
    asked = None if target is None else as_target(target)
    found = [single for one in methods for single in explainer.maps(ready, asked, one)]
    return found if several or len(found) > 1 else found[0]


as_method = method
as_target = target


def _check_names(told: Prediction) -> None:
    """Refuse class names that are too few or too many: the ones there are would stand at the wrong classes."""
    names, count = len(told.class_names), len(told.scores)
    if names not in (0, count):
        raise OptionError(f"class names must be one for each of the model's {count} outputs or classes, got {names}")


def _cells(found: Map, ready: Ready) -> Grid | None:
    """The grid of a coarse map's cells in the world."""
    if found.cells is None:
        return None
    return cell_grid(ready.prepared.grid, found.cells.start, found.cells.step, found.values.shape[2:])


def _returned(values: Tensor, quantity: Quantity, ready: Ready, cells: Grid | None) -> Returned:
    plain = values[0].detach().float().cpu().numpy()
    replicated = ready.prepared.replicated and len(plain) > 1
    return bring_back(plain, ready.prepared.grid, ready.image.grid, quantity, replicated, cells)


def _optional(values: Tensor | None, quantity: Quantity, ready: Ready, cells: Grid | None) -> Any:
    return None if values is None else _returned(values, quantity, ready, cells).values


def _on_cells(values: Tensor) -> Any:
    """A coarse map as (channel, i, j, k): 2D maps get a depth of 1."""
    plain = values[0].detach().float().cpu().numpy()
    return plain if plain.ndim == 4 else plain[..., None]


def _singles(found: Map, ready: Ready) -> list[Map]:
    """A map and its siblings, one by one, in units of the image's own intensity."""
    return [_per_raw_intensity(one, ready) for one in (replace(found, siblings=()), *found.siblings)]


def _channels(count: int, ready: Ready) -> tuple[str, ...]:
    """The image channel behind each of `count` map channels, in the order in which the network got them."""
    fed = tuple(dict.fromkeys(ready.prepared.channels))  # a replicated channel counts once: its copies are summed
    return fed if len(fed) == count else ("all",)


def _per_raw_intensity(found: Map, ready: Ready) -> Map:
    """Derivatives by the network's input as derivatives by the image's own intensity (chain rule with the gain)."""
    if not found.derivative:
        return found
    gain = torch.tensor(ready.prepared.gain, dtype=found.values.dtype, device=found.values.device)
    values = found.values * gain.reshape(1, -1, *[1] * (found.values.ndim - 2))
    return replace(found, values=values, unit=found.unit.replace("input unit", ready.image.unit))


def _explained(found: Map) -> int:
    return 0 if found.classes is None else int(found.classes[0])


def _numbers(found: Map) -> dict[str, Any]:
    """The map's numbers for its only sample, as plain values."""
    numbers = {**found.numbers, "score": found.score, "class": _explained(found)}
    return {
        name: float(value[0]) if isinstance(value, Tensor) else value
        for name, value in numbers.items()
        if value is not None
    }


def _spacing(ready: Ready) -> tuple[float, ...] | None:
    grid = ready.prepared.grid
    return grid.spacing[: ready.prepared.rank] if grid.physical else None
