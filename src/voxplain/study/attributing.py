"""What a method found about one case, laid on the image's own grid together with how it came to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from voxplain.data.attribution import Attribution, Coarse
from voxplain.data.prepare import Prepare
from voxplain.data.way_back import Returned, bring_back, cell_grid
from voxplain.methods import Map, Method
from voxplain.score.model import Model
from voxplain.score.target import Target
from voxplain.space.grid import Grid
from voxplain.space.resample import resample
from voxplain.spec import text
from voxplain.study.certify import certificate
from voxplain.study.origin import Cost, provenance
from voxplain.study.ready import Ready
from voxplain.types import Quantity

MOST_CLASSES = 12
"""Maps of every class are written out up to so many classes; ImageNet's thousand would fill a disk."""


@dataclass(frozen=True, eq=False)
class Story:
    """What was asked of whom, and what answering took."""

    model: Model
    prepare: Prepare
    seed: int
    ready: Ready
    target: Target
    method: Method
    cost: Cost


def attributions(story: Story, found: Map, twin: Map | None) -> list[Attribution]:
    """The map on the image's own grid, and its siblings; `twin` is the same made again, where that was asked for."""
    singles = _singles(found, story.ready)
    twins = [None] * len(singles) if twin is None else _singles(twin, story.ready)
    return [_attribution(story, *pair) for pair in zip(singles, twins, strict=True)]


def _attribution(story: Story, found: Map, twin: Map | None) -> Attribution:
    ready, method, target = story.ready, story.method, story.target
    cells = _cells(found, ready)
    back = _returned(found.values, found.quantity, ready, cells)
    request = {"method": text(method, full=True), "target": text(target, full=True), "prepare": text(story.prepare)}
    return Attribution(
        values=back.values,
        grid=ready.image.grid,
        quantity=found.quantity,
        method=text(method),
        target=text(target),
        target_words=target.words(_explained(found), story.model.class_names),
        unit=found.unit,
        channels=_channels(len(back.values), ready),
        layer=found.layer,
        evidence="absolute" if found.derivative else "positive",
        standard_error=_optional(found.standard_error, found.quantity, ready, cells),
        coarse=None if cells is None else Coarse(_on_cells(found.values), cells),
        parts={name: _part(part, found.quantity, ready) for name, part in {**found.parts, **_by_class(found)}.items()},
        numbers={**_numbers(found), "sum_on_image": back.sum_on_image},
        notes=(*found.notes, *_unwritten(found)),
        certificate=certificate(found, back, twin, story.model, story.cost.ledger),
        provenance=provenance(story.model, ready, request, story.seed, story.cost),
        image=ready.image,
    )


def _cells(found: Map, ready: Ready) -> Grid | None:
    """The grid of a coarse map's cells in the world."""
    if found.cells is None:
        return None
    return cell_grid(ready.prepared.grid, found.cells.start, found.cells.step, found.values.shape[2:])


def _returned(values: Tensor, quantity: Quantity, ready: Ready, cells: Grid | None) -> Returned:
    plain = values[0].detach().float().cpu().numpy()
    replicated = ready.prepared.replicated and len(plain) > 1
    return bring_back(plain, ready.prepared.grid, ready.image.grid, quantity, replicated, cells)


def _part(values: Tensor, quantity: Quantity, ready: Ready) -> Any:
    """A named extra on the image's grid; whole numbers are labels, which must not be mixed."""
    if values.is_floating_point():
        return _returned(values, quantity, ready, None).values
    labels = values[0].cpu().numpy().astype("float32").reshape(-1, *ready.prepared.grid.shape)
    return resample(labels, ready.prepared.grid, ready.image.grid, mode="nearest")


def _optional(values: Tensor | None, quantity: Quantity, ready: Ready, cells: Grid | None) -> Any:
    return None if values is None else _returned(values, quantity, ready, cells).values


def _by_class(found: Map) -> dict[str, Tensor]:
    """The maps of the other classes that came from the same calls, by name."""
    if found.by_class is None or found.by_class.shape[1] > MOST_CLASSES:
        return {}
    return {f"class_{n}": one for n, one in enumerate(found.by_class.unbind(1)) if n != _explained(found)}


def _unwritten(found: Map) -> tuple[str, ...]:
    if found.by_class is None or found.by_class.shape[1] <= MOST_CLASSES:
        return ()
    return (f"the same calls gave maps of all {found.by_class.shape[1]} classes; only the explained one is written",)


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
    error, channels = found.standard_error, found.values.shape[1]
    gains = ready.prepared.gain if channels > 1 else tuple(set(ready.prepared.gain))
    if not found.derivative or len(gains) != channels:  # one map for channels of different gains has no raw unit
        return found
    gain = torch.tensor(gains, dtype=found.values.dtype, device=found.values.device)
    gain = gain.reshape(1, -1, *[1] * (found.values.ndim - 2))
    return replace(
        found,
        values=found.values * gain,
        standard_error=None if error is None else error * gain.abs(),
        parts={name: part * gain if part.shape[1] == channels else part for name, part in found.parts.items()},
        unit=found.unit.replace("input unit", ready.image.unit),
    )


def _explained(found: Map) -> int:
    return 0 if found.classes is None else int(found.classes[0])


def _numbers(found: Map) -> dict[str, Any]:
    """The map's numbers for its only sample, as plain values."""
    numbers = {**found.numbers, "score": found.score, "class": _explained(found)}
    return {
        name: value[0].tolist() if isinstance(value, Tensor) else value
        for name, value in numbers.items()
        if value is not None
    }
