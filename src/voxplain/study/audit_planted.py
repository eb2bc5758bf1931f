"""A shortcut planted on the user's own images: a copy of the model learns it; does each method find it?"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import prepare_mask
from voxplain.errors import InputError, MemoryShort, VoxplainError
from voxplain.phantoms.plant import Plant, planted
from voxplain.score.choice import scores
from voxplain.score.memory import short_of_memory
from voxplain.score.model import Model
from voxplain.score.target import Margin
from voxplain.spec import text
from voxplain.study.audit_cohort import Cohort
from voxplain.study.audit_places import shares
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, concluded, estimate
from voxplain.study.evaluate_maps import explained
from voxplain.study.ready import Ready
from voxplain.study.statistics import Estimate
from voxplain.training.seeding import seeded
from voxplain.types import Access

CASES, QUICK_CASES = 36, 18
"""Cases that are marked; a third of them is kept to ask the copy about."""

FEWEST = 6

AGAIN = 1000
"""Every case learnt from is marked a second time, elsewhere: numbers of these draws begin here."""

STEPS = 400
"""Of Adam at most; a copy that is sure of all images has learnt enough."""

SURE = 0.02
"""Cross entropy of that, averaged over the last steps."""

RATES = (3e-3, 1e-3, 1e-4)
"""Of Adam; the next one is tried where a copy does not learn the marker by the first."""

BATCH = 16

LEARNT = 0.9
"""Share of the cases asked about that the copy must call after the marker, with it and without it; maps of these are
looked at."""

MARKER = Plant(kind="marker", strength=1.2, radius=0.06)
"""A bright square near a corner of the image, an eighth of its shortest side wide."""

REACH = 16
"""The marker's box is widened by the side divided by this, as the cells of coarse maps are large."""

LOOK, FAIL = 2.0, 1.0
"""Times chance: a method that has less than the second has not found the marker."""

CHECK, TITLE = "planted", "A planted shortcut: does each method find it?"


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
    box: Any
    """Around the marker on the network's grid (*space), boolean."""


def check(cohort: Cohort) -> Verdict:
    """Half of a copy's images carry a marker, and only the marker says what they are called."""
    model = cohort.plan.model
    try:
        model.require(Access.GRADIENT, "learning from a marker")
        pairs = _pairs(cohort)
        classes = _classes(model, pairs)
        held = max(2, len(pairs) // 3)
        asked, shown = pairs[:held], pairs[held:]
        elsewhere = [_pair(cohort, pair.case, AGAIN + number) for number, pair in enumerate(shown)]
        taught, learnt = _taught(cohort, [*shown, *elsewhere], asked, classes)
    except VoxplainError as error:
        return Verdict.not_applicable(CHECK, TITLE, str(error))
    if learnt < LEARNT:
        reason = f"the copy did not learn the marker: it follows it in {learnt:.0%} of the cases"
        return Verdict.not_applicable(CHECK, TITLE, reason)
    findings = _findings(cohort, taught, [one for one in asked if _follows(taught, [one], classes)], classes)
    return _verdict(findings, learnt, len(asked))


def _verdict(findings: tuple[Finding, ...], learnt: float, cases: int) -> Verdict:
    verdict = Verdict(
        check=CHECK,
        title=TITLE,
        outcome="ok",
        sentence="",
        quantity="evidence around the marker over its share of the image",
        threshold=f"look below {LOOK:g}, fail below {FAIL:g}",
        findings=findings,
        numbers={"swap": learnt, "cases": cases},
    )
    return concluded(
        verdict,
        {
            "ok": f"a copy that learnt a marker (swapping it turns {learnt:.0%} of the answers): every method finds it",
            "look": "{names}: little of the evidence lies at a marker that a copy of the model is known to use",
            "fail": "{names}: does not find a marker that a copy of the model is known to use",
        },
    )


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
    image, place = planted(ready.image, MARKER, draw)
    again = cohort.plan.prepare(image, ready.prepared.rank, ready.mask)
    box = around(prepare_mask(place, ready.prepared) > 0)
    marked = torch.from_numpy(again.values)[None].to(ready.x)
    return Pair(case, ready.x, marked, image, ready, box)


def around(marker: Any) -> Any:
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


def _classes(model: Model, pairs: Sequence[Pair]) -> tuple[int, int]:
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


def _taught(
    cohort: Cohort, pairs: Sequence[Pair], asked: Sequence[Pair], classes: tuple[int, int]
) -> tuple[Model, float]:
    """A copy that learnt the marker, and the share of the cases asked about in which its answer follows the marker."""
    found = (cohort.plan.model, 0.0)
    for rate in RATES:
        taught = taught_copy(cohort, pairs, classes, rate)
        learnt = _follows(taught, asked, classes)
        found = (taught, learnt) if learnt >= found[1] else found
        if learnt >= LEARNT:
            break
    return found


def taught_copy(cohort: Cohort, pairs: Sequence[Pair], classes: tuple[int, int], rate: float) -> Model:
    """A copy of the model that learnt what is marked and what is not; the model itself stays as it is."""
    known: dict[int, Any] = {}
    model = cohort.plan.model
    module = copy.deepcopy(model.module, known)
    layers = {name: known[id(layer)] for name, layer in model.layers.items()}
    taught = model.with_module(module, layers)
    weights = [weight.requires_grad_(weight.is_floating_point()) for weight in module.parameters()]
    if not weights:
        raise InputError("the model has no weights that could learn")
    with seeded(cohort.plan.seed, model.device), torch.enable_grad():
        _learn(taught, weights, pairs, classes, rate)
    for weight in weights:
        weight.requires_grad_(False)
    # A record of its own: what was known of its weights (their hash) belongs to the untaught ones.
    return replace(taught, label=f"{model.label}, taught a marker")


def _learn(
    model: Model, weights: Sequence[Tensor], pairs: Sequence[Pair], classes: tuple[int, int], rate: float
) -> None:
    """Fit a model to the pairs; norms learn their statistics anew, else a network may not be able to see the marker."""
    x = torch.cat([part for pair in pairs for part in (pair.plain, pair.marked)])
    truth = torch.tensor([classes[1], classes[0]] * len(pairs), device=x.device)
    optimiser, lately = torch.optim.Adam(weights, lr=rate), 1.0
    try:
        model.module.train()
        for _ in range(STEPS):
            places = torch.randperm(len(x))[:BATCH].to(x.device)
            optimiser.zero_grad()
            lost = nn.functional.cross_entropy(scores(model(x[places]), model.head), truth[places])
            lost.backward()
            optimiser.step()
            lately = 0.9 * lately + 0.1 * float(lost.detach())
            if lately < SURE:
                break
        model.module.eval()
    except (RuntimeError, ValueError) as error:  # programs and norms that cannot learn
        if short_of_memory(error):
            raise MemoryShort("out of memory while a copy of the model learnt a marker; use smaller images") from error
        raise InputError("the model is of a kind that cannot learn on") from error


def _follows(model: Model, pairs: Sequence[Pair], classes: tuple[int, int]) -> float:
    with torch.no_grad():
        said = [[int(scores(model(x), model.head).argmax()) for x in (pair.marked, pair.plain)] for pair in pairs]
    return float(np.mean([tuple(one) == classes for one in said]))


def _findings(cohort: Cohort, taught: Model, pairs: Sequence[Pair], classes: tuple[int, int]) -> tuple[Finding, ...]:
    explainer = replace(cohort.explainer, model=taught)
    target = Margin(classes[0], against=classes[1])
    found: dict[str, dict[str, float]] = {text(method): {} for method in cohort.plan.methods}
    reasons: dict[str, str] = {}
    for pair in pairs:
        ready = replace(pair.ready, image=pair.image, x=pair.marked)
        for method in cohort.plan.methods:
            try:
                laid = explained(explainer, ready, target, method)[0]
            except VoxplainError as error:
                reasons[text(method)] = str(error)
                continue
            values = laid.values
            if values is None:
                continue
            net = values.double().sum(dim=0, keepdim=True)
            mass = net.abs() if laid.attribution.evidence == "absolute" else net.clamp(min=0)
            share = shares(mass, {"marker": pair.box})["marker"] if bool(mass.any()) else 0.0
            found[text(method)][pair.case.identifier] = share / float(pair.box.mean())
    return tuple(_finding(name, own, cohort.groups, reasons) for name, own in found.items())


def _finding(name: str, own: Mapping[str, float], groups: Mapping[str, str], reasons: Mapping[str, str]) -> Finding:
    found = estimate(own, groups)
    if found is None:
        return Finding.not_applicable(name, reasons.get(name, "no map"))
    return Finding.of(name, _found(found), f"{found.value:.2g} times chance around the marker", found, cases=dict(own))


def _found(one: Estimate) -> Outcome:
    surely = one.value if one.low is None else one.low
    return "ok" if surely > LOOK else "look" if surely > FAIL else "fail"
