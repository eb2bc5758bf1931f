"""Maps as metrics take them: on the image's own grid and on the network's, methods and controls alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.way_back import bring_back
from voxplain.errors import InputError, VoxplainError
from voxplain.methods import Map, Method
from voxplain.ops.controls import CONTROLS, random_map
from voxplain.ops.enlarge import enlarged
from voxplain.score.score import Score
from voxplain.score.target import Target
from voxplain.space.grid import Grid
from voxplain.study.attributing import Story, attributions
from voxplain.study.evaluate_cost import measured
from voxplain.study.explain import Explainer, check_finite
from voxplain.study.origin import Cost
from voxplain.study.ready import Ready
from voxplain.study.sharing import found_together
from voxplain.types import Quantity


@dataclass(frozen=True, eq=False)
class Laid:
    """A map of one case and target."""

    attribution: Attribution
    """On the image's own grid."""
    values: Tensor | None = None
    """The same (channel or 1, *space) on the network's grid; None where it was read from a file."""
    control: bool = False
    """True for a map that no network was asked for."""
    took: Mapping[str, float | None] = field(default_factory=dict)
    """What making it took, by the names of `FACTS`."""

    @property
    def key(self) -> str:
        """The name under which everything that decided it stands."""
        return self.attribution.provenance.key

    @property
    def flaw(self) -> str:
        """Why the map is of no use to any metric, '' where it is."""
        values = self.attribution.values
        finite = torch.isfinite(torch.as_tensor(values)).all()
        return ("" if values.any() else "the map has no values but 0") if finite else "the map is not finite"


def explained(explainer: Explainer, ready: Ready, target: Target | None, method: Method) -> list[Laid]:
    """The maps of one method asked alone, one a layer, with what they took; raises what keeps it from them."""
    meant = target or ready.prediction.default_target
    score = explainer.score(ready, meant)
    with measured(ready.x.device) as taken:
        (found,) = found_together([score], [method], ready.x, each=True)
    if isinstance(found, VoxplainError):
        raise found
    check_finite(found.score, ready, f"{method.name}: ")
    cost = Cost(score.ledger, taken.seconds, 1)
    story = Story(explainer.model, explainer.prepare, explainer.seed, ready, meant, method, cost)
    took = {
        "seconds": taken.seconds,
        "forwards": float(score.ledger.forwards),
        "backwards": float(score.ledger.backwards),
        "peak_memory": taken.peak_megabytes,
    }
    singles = (found, *found.siblings)
    laid = attributions(story, found, _twin(explainer, ready, meant, method))
    return [Laid(one, _at_voxels(raw, ready.x)[0], took=took) for one, raw in zip(laid, singles, strict=True)]


def _twin(explainer: Explainer, ready: Ready, target: Target, method: Method) -> Map | None:
    """The same map made again, where that was asked for."""
    return method(explainer.score(ready, target), ready.x) if explainer.verify else None


def _at_voxels(found: Map, x: Tensor) -> Tensor:
    """A map (batch, channel or 1, *space) at the voxels of the network's input."""
    if found.cells is None:
        return found.values.detach().to(x.dtype)
    wide = enlarged(found.values.detach().double(), found.cells.start, found.cells.step, tuple(x.shape[2:]))
    return wide.to(x.dtype)


def controls(image: Image, ready: Ready | None, target: str) -> list[Laid]:
    """The maps of the controls for a case, as if methods had made them: of the network's input where there is one."""
    if ready is not None:
        return [_control(name, image, ready.x, ready.prepared.grid, target) for name in CONTROLS]
    x = torch.from_numpy(image.values[..., 0] if image.grid.is_2d else image.values)[None]
    return [_control(name, image, x, image.grid, target) for name in CONTROLS]


def _control(name: str, image: Image, x: Tensor, grid: Grid, target: str) -> Laid:
    """The map of a control of an input (1, channel, *space) that lies on `grid`."""
    values = control(name, image.identifier)(x)
    back = bring_back(values[0].float().cpu().numpy(), grid, image.grid, Quantity.SALIENCY)
    attribution = Attribution(
        values=back.values, grid=image.grid, quantity=Quantity.SALIENCY, method=name, target=target, image=image
    )
    return Laid(attribution, values[0], control=True)


def control(name: str, case: str) -> Callable[[Tensor], Tensor]:
    """A control as a function of the network's input; every case has a random map of its own."""
    if name == random_map.__name__:
        return partial(random_map, seed=int(sha256(case.encode()).hexdigest()[:8], 16))
    return CONTROLS[name]


def again(method: Method, layer: str) -> Method:
    """The method of one of the layers that it was asked for together."""
    several = "layer" in {one.name for one in fields(method)} and isinstance(getattr(method, "layer"), tuple)  # noqa: B009
    if not several:
        return method
    options: dict[str, Any] = {"layer": layer}
    return replace(method, **options)


def explain_with(method: Method) -> Callable[[Score, Tensor], Tensor]:
    """The method as metrics call it: maps (batch, channel or 1, *space) at the resolution of their input."""

    def explain(score: Score, x: Tensor) -> Tensor:
        found = method(score, x)
        if found.siblings:
            raise InputError(f"{method.name}: one layer must be meant, got {1 + len(found.siblings)}")
        return _at_voxels(found, x)

    return explain
