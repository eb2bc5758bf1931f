"""The cases of an audit seen once each: where their maps lie, and what the model says of them once places are wiped."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from voxplain.data.case import Case
from voxplain.errors import VoxplainError
from voxplain.methods import Method
from voxplain.ops.local_median import local_median
from voxplain.score.score import Score
from voxplain.score.target import Target, target
from voxplain.spec import text
from voxplain.study.audit_body import Body, Mask
from voxplain.study.audit_kept import Kept
from voxplain.study.audit_places import corners, elsewhere, places, shares
from voxplain.study.evaluate_maps import explained
from voxplain.study.explain import Explainer
from voxplain.study.plan import Plan
from voxplain.study.ready import Ready
from voxplain.study.run import Say, Tick

SEEN = "cases"
"""The file of what was seen of the cases."""

SMALL = {2: 16, 3: 8}
"""Cells a side of the small maps that are held beside each other, by the image's rank."""

SHIFTS, QUICK_SHIFTS = 16, 8
"""Random places in which the shape of a place is wiped as well."""

CERTIFIED = ("nonlinearities covered", "completeness", "conservation", "finite", "not constant", "share in padding")
"""What an audit asks of certificates."""


@dataclass(frozen=True)
class SeenMap:
    """One method's map of one case, in a few numbers."""

    shares: Mapping[str, float]
    """Place -> share of the map's magnitude."""
    small: tuple[float, ...]
    """The map's magnitude in cells, adding up to 1, the last axis fastest."""
    checks: tuple[Mapping[str, Any], ...]
    """Of its certificate."""
    flaw: str = ""
    """Why it is of no use."""


@dataclass(frozen=True)
class Seen:
    """One case, in a few numbers."""

    case: str
    group: str
    label: str | None
    said: str
    """The class that the model says; '' where it tells none."""
    score: float
    """How far the class lies above its rival; of other models the target's number."""
    covered: Mapping[str, float]
    """Place -> the same number when the place has lost its small structures."""
    elsewhere: Mapping[str, Sequence[float]]
    """Place -> the same number when its shape, laid anywhere in the image, has lost them; one for each such place."""
    areas: Mapping[str, float]
    """Place -> its share of the image."""
    maps: Mapping[str, SeenMap]
    """By method."""
    rank: int = 2
    failed: str = ""
    """What kept the case from being seen."""

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Seen:
        """Back from plain JSON values."""
        own = {name: SeenMap(**{**one, "small": tuple(one["small"])}) for name, one in table["maps"].items()}
        return cls(**{**table, "maps": own})


@dataclass(frozen=True, eq=False)
class Cohort:
    """The model, its cases, and how they are looked at."""

    plan: Plan
    cases: tuple[Case, ...]
    body: Body = "otsu"
    quick: bool = False
    folder: Path | None = None
    """Where checks keep what they have asked; None keeps nothing."""
    explainer: Explainer = field(init=False)

    def __post_init__(self) -> None:
        plan = self.plan
        made = Explainer(plan.model, plan.prepare, plan.budget, plan.seed, plan.verify, plan.references)
        object.__setattr__(self, "explainer", made)

    @property
    def groups(self) -> dict[str, str]:
        """Case -> patient, where one is known."""
        return {case.identifier: case.group for case in self.cases if case.group}

    def target(self, ready: Ready) -> Target:
        """What is explained of a case."""
        return self.plan.targets[0] or ready.prediction.default_target

    def ready(self, case: Case) -> Ready:
        """The case, prepared."""
        return self.explainer.ready(case.image, case.mask, case.slice, case.segments)

    def kept(self, check: str) -> Kept:
        """What a check has asked of cases so far."""
        return Kept(None if self.folder is None else self.folder / f"{check}.jsonl")

    def drawn(self, count: int) -> list[Case]:
        """Some of the cases, drawn by the seed, in the order of all."""
        order = np.random.default_rng(self.plan.seed).permutation(len(self.cases))[:count]
        return [self.cases[place] for place in sorted(order)]


def see(cohort: Cohort, say: Say, tick: Tick) -> list[Seen]:
    """Every case, seen now or found in the folder from an earlier start."""
    kept, found = cohort.kept(SEEN), []
    for number, case in enumerate(cohort.cases, 1):
        if case.identifier not in kept:
            say(f"case {number} of {len(cohort.cases)}: {case.identifier}")
        found.append(Seen.from_table(kept(case.identifier, partial(_tried, cohort, case))))
        tick(number, len(cohort.cases))
    return found


def _tried(cohort: Cohort, case: Case) -> dict[str, Any]:
    """A case seen, as plain values."""
    try:
        seen = _seen(cohort, case)
    except VoxplainError as error:
        seen = Seen(case.identifier, case.group or "", case.label, "", 0.0, {}, {}, {}, {}, failed=str(error))
    return asdict(seen)


def _seen(cohort: Cohort, case: Case) -> Seen:
    ready = cohort.ready(case)
    where = places(ready, cohort.body)
    score, covered, beside = _wiped(cohort, ready, where)
    boxes = {**where, **corners(tuple(ready.x.shape[2:]))}
    maps = {text(method): _map(cohort, ready, method, boxes) for method in cohort.plan.methods}
    areas = {name: float(mask.mean()) for name, mask in boxes.items()}
    rank, said = ready.x.ndim - 2, class_name(ready)
    return Seen(case.identifier, case.group or "", case.label, said, score, covered, beside, areas, maps, rank)


def class_name(ready: Ready) -> str:
    """The class that the model says, '' where it tells none."""
    told = ready.prediction
    if told.predicted is None:
        return ""
    return told.class_names[told.predicted] if told.class_names else str(told.predicted)


def _wiped(
    cohort: Cohort, ready: Ready, where: Mapping[str, Mask]
) -> tuple[float, dict[str, float], dict[str, list[float]]]:
    """The number of a case as it is, with each place wiped, and with its shape wiped anywhere."""
    asked = target("margin") if ready.prediction.kind == "classification" else cohort.target(ready)
    score = cohort.explainer.score(ready, asked)
    try:
        clean, frozen = score.freeze(ready.x)
    except VoxplainError:  # a single class has no rival
        score = cohort.explainer.score(ready, cohort.target(ready))
        clean, frozen = score.freeze(ready.x)
    plain, count = local_median(ready.x), QUICK_SHIFTS if cohort.quick else SHIFTS
    covered: dict[str, float] = {}
    beside: dict[str, list[float]] = {}
    for name, mask in where.items():
        draw = np.random.default_rng([cohort.plan.seed, zlib.crc32(ready.image.identifier.encode())])
        covered[name], *beside[name] = _without(frozen, ready.x, plain, [mask, *elsewhere(mask, draw, count)])
    return float(clean[0]), covered, beside


def _without(frozen: Score, x: Tensor, plain: Tensor, masks: Sequence[Mask]) -> list[float]:
    """Scores of a case (1, channel, *space), its voxels replaced by plain ones in each of the masks (*space)."""

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(np.stack([masks[one] for one in index.tolist()])).to(x.device)
        return torch.where(chosen[:, None], plain, x), torch.zeros_like(index)

    return torch.cat([piece.values for piece in frozen.stream(len(masks), make, like=x)]).tolist()


def _map(cohort: Cohort, ready: Ready, method: Method, where: dict[str, Any]) -> SeenMap:
    try:
        laid = explained(cohort.explainer, ready, cohort.target(ready), method)[0]
    except VoxplainError as error:
        return SeenMap({}, (), (), str(error))
    checks = tuple(asdict(one) for one in laid.attribution.certificate.checks if one.name in CERTIFIED)
    values = laid.values
    if laid.flaw or values is None or not bool(values.sum(dim=0).any()):
        return SeenMap({}, (), checks, laid.flaw or "the map has no values but 0")
    return SeenMap(shares(values, where), small(values), checks)


def small(values: Tensor) -> tuple[float, ...]:
    """A map's magnitude (channel or 1, *space) as shares in few cells."""
    mass = values.double().sum(dim=0).abs()[None, None]
    rank = mass.ndim - 2
    pool = functional.adaptive_avg_pool2d if rank == 2 else functional.adaptive_avg_pool3d
    cells = pool(mass, SMALL[rank])
    return tuple(float(f"{one:.6g}") for one in (cells / cells.sum()).flatten().tolist())


def by_class(seen: Sequence[Seen], fewest: int) -> dict[str, list[Seen]]:
    """Cases by what the model says, classes of fewer left out; all together where no class has as many."""
    found: dict[str, list[Seen]] = {}
    for one in seen:
        found.setdefault(one.said, []).append(one)
    large = {name: own for name, own in found.items() if len(own) >= fewest}
    return large or {"": list(seen)}
