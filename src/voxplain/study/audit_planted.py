"""A shortcut planted on the user's own images: a copy of the model learns it; does each method find it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import prepare_mask
from voxplain.data.writing import written_beside
from voxplain.errors import InputError, VoxplainError
from voxplain.methods import Method
from voxplain.phantoms.plant import Plant, planted
from voxplain.score.model import Model
from voxplain.score.target import Margin, Target
from voxplain.spec import text
from voxplain.study.audit_body import Mask
from voxplain.study.audit_cohort import Cohort
from voxplain.study.audit_places import shares
from voxplain.study.audit_taught import Classes, Couple, copied, follows, taught
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, concluded, estimate, lower_end
from voxplain.study.evaluate_maps import explained
from voxplain.study.explain import Explainer
from voxplain.study.ready import Ready
from voxplain.types import Access

CASES, QUICK_CASES = 48, 24
"""Cases that are marked; a third of them is kept to ask the copy about."""

FEWEST = 6

AGAIN = 1000
"""Every case learnt from is marked a second time, elsewhere: numbers of these draws begin here."""

LEARNT = 0.9
"""Share of the cases asked about that the copy must call after the marker, with it and without it; maps of these are
looked at."""

MARKER = Plant(kind="marker", strength=1.2, radius=0.06)
"""A bright square near a corner of the image, an eighth of its shortest side wide."""

CLEAR, TRIES = 0.5, 8
"""It shall change what was there by this share of the image's range (percentile 1 to 99); so many corners are tried."""

REACH = 16
"""The marker's box is widened by the side divided by this, as the cells of coarse maps are large."""

LOOK, FAIL = 2.0, 1.0
"""Times chance: a method that has less than the second has not found the marker."""

CHECK, TITLE = "planted", "A planted shortcut: does each method find it?"


BAD: dict[Outcome, str] = {
    "look": "{names}: little of the evidence lies at a marker that a copy of the model is known to use",
    "fail": "{names}: does not find a marker that a copy of the model is known to use",
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A case without and with the marker."""

    case: Case
    plain: Tensor
    """(1, channel, *space)."""
    marked: Tensor
    image: Image
    """With the marker."""
    ready: Ready
    box: Mask
    """Around the marker on the network's grid (*space)."""

    @property
    def couple(self) -> Couple:
        """What a copy learns from."""
        return self.plain, self.marked


def check(cohort: Cohort) -> Verdict:
    """Half of a copy's images carry a marker, and only the marker says what they are called."""
    model = cohort.plan.model
    try:
        model.require(Access.GRADIENT, "learning from a marker")
        pairs = _pairs(cohort)
        classes = _classes(model, pairs)
        asked, shown = pairs[: max(2, len(pairs) // 3)], pairs[max(2, len(pairs) // 3) :]
        taught = _taught(cohort, shown, classes)
    except VoxplainError as error:
        return Verdict.not_applicable(CHECK, TITLE, str(error))
    turning = [one for one in asked if follows(taught, [one.couple], classes)]
    if len(turning) < LEARNT * len(asked):
        reason = f"the copy did not learn the marker: it follows it in {len(turning)} of {len(asked)} cases"
        return Verdict.not_applicable(CHECK, TITLE, reason)
    return concluded(
        CHECK,
        TITLE,
        {
            "ok": f"a copy learnt a marker ({len(turning)} of {len(asked)} answers turn), and every method finds it",
            **BAD,
        },
        _findings(cohort, taught, turning, classes),
        quantity="evidence around the marker over its share of the image",
        threshold=f"look below {LOOK:g}, fail below {FAIL:g}",
        numbers={"swap": len(turning) / len(asked), "cases": len(asked)},
    )


def _taught(cohort: Cohort, shown: Sequence[Pair], classes: Classes) -> Model:
    """A copy that learnt the marker, now or in an earlier start."""
    file = None if cohort.folder is None else cohort.folder / f"{CHECK}.pt"
    if file is not None and file.is_file():
        model = copied(cohort.plan.model)
        model.module.load_state_dict(torch.load(file, map_location=model.device, weights_only=True))
        return model
    watched, learnt = shown[: max(1, len(shown) // 4)], shown[max(1, len(shown) // 4) :]
    elsewhere = [_pair(cohort, pair.case, AGAIN + number) for number, pair in enumerate(learnt)]
    couples = [pair.couple for pair in (*learnt, *elsewhere)]
    model = taught(cohort.plan.model, couples, [pair.couple for pair in watched], classes, cohort.plan.seed)
    if file is not None:
        with written_beside(file) as beside:
            torch.save(model.module.state_dict(), beside)
    return model


def _pairs(cohort: Cohort) -> list[Pair]:
    """Cases with and without marker; those that cannot be marked are left out."""
    found = []
    for number, case in enumerate(cohort.drawn(QUICK_CASES if cohort.quick else CASES)):
        try:
            found.append(_pair(cohort, case, number))
        except VoxplainError:
            continue
    if len(found) < FEWEST:
        raise InputError(f"planting a marker needs at least {FEWEST} cases, got {len(found)}")
    order = np.random.default_rng(cohort.plan.seed).permutation(len(found))
    return [found[place] for place in order]


def _pair(cohort: Cohort, case: Case, number: int) -> Pair:
    ready = cohort.ready(case)
    draw = np.random.default_rng([cohort.plan.seed, number])
    image, place = _marked(ready.image, draw)
    again = cohort.plan.prepare(image, ready.prepared.rank, ready.mask)
    box = around(prepare_mask(place, ready.prepared) > 0)
    marked = torch.from_numpy(again.values)[None].to(ready.x)
    return Pair(case, ready.x, marked, image, ready, box)


def _marked(image: Image, draw: np.random.Generator) -> tuple[Image, Image]:
    """The image with a marker where it stands out, and the marker's place."""
    low, high = np.percentile(image.values, (1, 99))
    found = []
    for _ in range(TRIES):
        marked, place = planted(image, MARKER, draw)
        change = np.abs(marked.values - image.values)[:, place.values[0] > 0].mean()
        found.append((float(change), marked, place))
        if change > CLEAR * (high - low):
            break
    _, marked, place = max(found, key=lambda one: one[0])
    return marked, place


def around(marker: Mask) -> Mask:
    """The box of a marker (*space), widened on all sides; raises `InputError` where the preparation cut it off."""
    found = np.argwhere(marker)
    if not len(found):
        raise InputError("the preparation cuts the marker off")
    box = np.zeros(marker.shape, dtype=bool)
    ends = zip(found.min(axis=0), found.max(axis=0), marker.shape, strict=True)
    box[tuple(slice(max(int(low) - side // REACH, 0), int(high) + side // REACH + 1) for low, high, side in ends)] = (
        True
    )
    return box


def _classes(model: Model, pairs: Sequence[Pair]) -> Classes:
    """The class that marked images are called, and the one for those without: the two that the model says most."""
    kinds = {pair.ready.prediction.kind for pair in pairs}
    if kinds != {"classification"}:
        raise InputError("a marker can be taught to classifiers only")
    said = [int(pair.ready.prediction.predicted or 0) for pair in pairs]
    count = len(pairs[0].ready.prediction.scores)
    if count < 2:
        raise InputError("a marker can be taught to models of at least two classes")
    order = sorted(range(count), key=lambda index: -said.count(index))
    return order[1], order[0]


def _findings(cohort: Cohort, taught: Model, pairs: Sequence[Pair], classes: Classes) -> list[Finding]:
    """What lies around the marker of each case's map, by each method."""
    asker = replace(cohort.explainer, model=taught)
    target = Margin(classes[0], against=classes[1])
    kept, names = cohort.kept(CHECK), [text(method) for method in cohort.plan.methods]
    told = {pair.case.identifier: kept(pair.case.identifier, partial(_around, asker, target, pair, cohort.plan.methods))
            for pair in pairs}  # fmt: skip
    found = []
    for place, name in enumerate(names):
        own = {case: one[place] for case, one in told.items()}
        numbers = {case: one for case, one in own.items() if not isinstance(one, str)}
        reason = next((one for one in own.values() if isinstance(one, str)), "no map")
        found.append(_finding(name, numbers, cohort.groups, reason))
    return found


def _around(asker: Explainer, target: Target, pair: Pair, methods: Sequence[Method]) -> list[float | str]:
    """Each method's evidence around the marker over its share of the image, or why there is none."""
    ready = replace(pair.ready, image=pair.image, x=pair.marked)
    found: list[float | str] = []
    for method in methods:
        try:
            laid = explained(asker, ready, target, method)[0]
        except VoxplainError as error:
            found.append(str(error))
            continue
        if laid.values is None:
            found.append("no map")
            continue
        net = laid.values.double().sum(dim=0, keepdim=True)
        mass = net.abs() if laid.attribution.evidence == "absolute" else net.clamp(min=0)
        share = shares(mass, {"marker": pair.box})["marker"] if bool(mass.any()) else 0.0
        found.append(share / float(pair.box.mean()))
    return found


def _finding(name: str, own: Mapping[str, float], groups: Mapping[str, str], reason: str) -> Finding:
    found = estimate(own, groups)
    if found is None:
        return Finding.not_applicable(name, reason)
    outcome: Outcome = "ok" if lower_end(found) > LOOK else "look" if lower_end(found) > FAIL else "fail"
    return Finding.of(name, outcome, f"{found.value:.2g} times chance around the marker", found, cases=dict(own))
