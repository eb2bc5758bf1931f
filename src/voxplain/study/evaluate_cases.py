"""Cases measured one by one: their maps made or read, and every metric that looks at finished maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch

from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import prepare_mask
from voxplain.data.slices import axial_slice
from voxplain.errors import FileError, InputError, VoxplainError
from voxplain.methods import Method
from voxplain.metrics.base import Need
from voxplain.score.target import Target
from voxplain.score.target import target as as_target
from voxplain.spec import text
from voxplain.study import rows as run_rows
from voxplain.study.certify import unchanged
from voxplain.study.evaluate_asked import FACTS
from voxplain.study.evaluate_case import Subject, fact_rows, map_rows, model_rows
from voxplain.study.evaluate_folder import Place, same_map
from voxplain.study.evaluate_job import Entry, Job, Wanted, body_of
from voxplain.study.evaluate_maps import Laid, controls, explained
from voxplain.study.explain import Explainer
from voxplain.study.plan import Plan
from voxplain.study.ready import Ready
from voxplain.study.rows import Row
from voxplain.study.run import Made, Say, questions, with_check

LOOKING = (Need.MAP, Need.MASK)


@dataclass(frozen=True, eq=False)
class Opened:
    """A case with its voxels, prepared where there is a model."""

    row: Row
    """What every row of it begins with."""
    image: Image
    mask: Image | None
    segments: Image | None
    ready: Ready | None


def measure_case(job: Job, name: str, places: Sequence[Place], say: Say = lambda line: None) -> None:
    """Find what is missing of the numbers of a case's maps; what prevents some of them stands in their rows."""
    wanted = _wanted(job, name, [Entry(one.target, one.method, one.layer, one.key) for one in places])
    if not wanted:
        return
    say(f"measuring {name}")
    row = job.begun(name, job.folder.facts_of(name))
    try:
        opened = _opened(job, name, row)
        for target in dict.fromkeys(one.target for one in wanted):
            own = [one for one in wanted if one.target == target]
            _measure_target(job, opened, [one for one in places if one.target == target], own)
    except VoxplainError as error:
        job.fail(row, job.lacking(name, wanted), str(error))


def _wanted(job: Job, case: str, maps: Sequence[Entry]) -> list[Wanted]:
    """What is missing: of metrics that look at maps, and with a model of those that ask it and of what maps take."""
    if job.explainer is None:
        return job.wanted(case, maps, job.of(*LOOKING))
    return [*job.wanted(case, maps, job.of(*LOOKING, Need.MODEL)), *job.wanted_facts(case, maps)]


def _opened(job: Job, name: str, row: Row) -> Opened:
    case, explainer = job.case(name), job.explainer
    if explainer is not None:
        return of_ready(row, explainer.ready(case.image, case.mask, case.slice, case.segments))
    image, mask, segments = (_sliced(one, case) for one in (case.image, case.mask, case.segments))
    if image is None:
        raise FileError(f"case {name!r} has no image in the run folder")
    return Opened(row, image, mask, segments, None)


def of_ready(row: Row, ready: Ready) -> Opened:
    """A prepared case."""
    return Opened(row, ready.image, ready.mask, ready.segments, ready)


def _sliced(image: Image | None, case: Case) -> Image | None:
    return image if image is None or case.slice is None else axial_slice(image, case.slice)


def _measure_target(job: Job, opened: Opened, places: Sequence[Place], wanted: Sequence[Wanted]) -> None:
    """All numbers of the maps of one target: maps are made again where the model is asked, else read."""
    asking = {one.name for one in job.of(Need.MODEL)} | set(FACTS)
    remade = any(one.metric in asking for one in wanted)
    laid: list[Laid] = []
    for method in dict.fromkeys(one.method for one in places):
        own = [one for one in places if one.method == method]
        try:
            laid += _made_again(job, opened, own) if remade else [_read(one, opened.image) for one in own]
        except VoxplainError as error:
            job.fail(opened.row, [one for one in wanted if one.method == method], str(error))
    measure_maps(job, opened, places[0].target, laid, wanted)


def _read(place: Place, image: Image) -> Laid:
    """A map of the run folder, on the image's exact grid: NIfTI rounds affines."""
    found = Attribution.load(place.path)
    if found.grid.shape != image.grid.shape:
        raise InputError(f"the map must lie on the image's grid of {image.grid.shape}, got {found.grid.shape}")
    return Laid(replace(found, grid=image.grid, image=image))


def _made_again(job: Job, opened: Opened, places: Sequence[Place]) -> list[Laid]:
    """The maps of one method made once more: they must be those of the folder by all that decides them."""
    if opened.ready is None or job.explainer is None or job.plan is None:
        raise TypeError("maps can be made again by a model only")
    method = method_of(job.plan, places[0].method)
    found = explained(job.explainer, opened.ready, as_target(places[0].target), method)
    named = {one.attribution.layer: one for one in found}
    for place in places:
        same_map(place, named[place.layer].attribution if place.layer in named else None)
    return [named[place.layer] for place in places]


def method_of(plan: Plan, name: str) -> Method:
    """The method of a plan whose rows stand under this spec."""
    for method in plan.methods:
        if text(method) == name:
            return method
    raise FileError(f"method {name!r} of the rows is not in the run's plan")


def measure_maps(job: Job, opened: Opened, target: str, laid: Sequence[Laid], wanted: Sequence[Wanted]) -> None:
    """Write the numbers that are wanted of the maps of one target, and of the controls beside them."""
    needed = {one.metric for one in wanted}
    everything = [*laid, *controls(opened.image, opened.ready, target)]
    subject = _subject(job, opened, target)
    asked = [one for one in job.asked if one.name in needed]
    looking = [one for one in asked if one.metric.need in LOOKING]
    asking = [one for one in asked if one.metric.need is Need.MODEL]
    found = chain(map_rows(subject, everything, looking), model_rows(subject, everything, asking))
    job.keep(chain(found, fact_rows(subject, laid)), wanted)


def _subject(job: Job, opened: Opened, target: str) -> Subject:
    ready, row = opened.ready, {**opened.row, "target": target}
    body = body_of(job.body, opened.image, opened.segments)
    if ready is None or job.explainer is None:
        return Subject(row, opened.mask, body)
    inside = None if body is None else torch.from_numpy(prepare_mask(body, ready.prepared) != 0)
    return Subject(row, opened.mask, body, job.explainer.score(ready, as_target(target)), ready.x, inside)


def made_and_measured(job: Job, explainer: Explainer, case: Case, plan: Plan, say: Say, tick: Any) -> Made:
    """Every map of one case, as `run` takes it, each method asked alone; what metrics say of them is written first."""
    pairs = list(questions(plan, case))
    ready = explainer.ready(case.image, case.mask, case.slice, case.segments)
    found, refused = _explained(explainer, ready, pairs, plan, say, lambda done: tick(done, len(pairs)))
    facts = {"group": case.group, "label": case.label}
    opened = of_ready(job.begun(case.identifier, facts), ready)
    for target in dict.fromkeys(one.attribution.target for one in found):
        own = [one for one in found if one.attribution.target == target]
        maps = [Entry(target, one.attribution.method, one.attribution.layer, one.key) for one in own]
        measure_maps(job, opened, target, own, _wanted(job, case.identifier, maps))
    check = unchanged(plan.model)
    rows = [run_rows.refused(case, plan, *one) for one in refused]
    return Made(ready, [with_check(one.attribution, check) for one in found], rows)


Refused = tuple[Target | None, Method, VoxplainError]


def _explained(
    explainer: Explainer,
    ready: Ready,
    pairs: Sequence[tuple[Target | None, Method]],
    plan: Plan,
    say: Say,
    done: Callable[[int], None],
) -> tuple[list[Laid], list[Refused]]:
    """The maps of all questions; where every method was asked for, those that cannot answer are left out."""
    found: list[Laid] = []
    refused: list[Refused] = []
    for number, (target, method) in enumerate(pairs, 1):
        try:
            found += explained(explainer, ready, target, method)
        except VoxplainError as error:
            if not plan.every:
                raise
            say(f"  left out: {method.name}: {error}")
            refused.append((target, method, error))
        done(number)
    if not found:
        raise refused[0][2]
    return found, refused
