"""A run: one model over many cases, targets and methods, into a run folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.certificate import Check
from voxplain.data.image import Image
from voxplain.data.slices import axial_slice
from voxplain.errors import InputError, MissingExtra, OptionError, TrustError, VoxplainError
from voxplain.metrics.relevance_mass import RelevanceMass
from voxplain.score.target import Target, target
from voxplain.space.resample import resample
from voxplain.study.certify import unchanged
from voxplain.study.explain import Explainer, Ready
from voxplain.study.plan import Plan
from voxplain.study.run_folder import RunFolder, case_facts

Say = Callable[[str], None]
"""Takes one line of progress."""

Tick = Callable[[int, int], None]
"""Takes how many maps are done and how many there will be."""

HOPELESS = (OptionError, TrustError, MissingExtra)
"""Errors that every further case would repeat: the run stops at once."""


QUOTED = re.compile(r"""(?<!\w)('[^']*'|"[^"]*")(?!\w)""")
"""A word in quotes, as `repr` writes it; the apostrophe of a genitive is none."""


@dataclass
class Outcome:
    """How a run ended."""

    folder: RunFolder
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write one more case's rows, so that an interrupt loses only the case that is being worked on."""
        self.rows += rows
        self.folder.write_rows(self.rows)
        self.folder.log(f"{rows[0]['case']}: {', '.join(row['status'] for row in rows)}")

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Rows that ended in an error."""
        return [row for row in self.rows if row["status"] == "failed"]


def run(
    plan: Plan,
    cases: Sequence[Case],
    out: Path,
    *,
    single: bool = False,
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
) -> Outcome:
    """Explain every case; rows are written after each one, so that an interrupted run goes on where it stopped.

    With `single`, the first error ends the run before anything is written. Otherwise an error is a failed row, unless
    every further case would repeat it.
    """
    table = plan.to_table([case.identifier for case in cases])
    folder = RunFolder.at(out, table)
    explainer = Explainer(plan.model, plan.prepare, plan.budget, plan.seed, plan.verify)
    outcome = Outcome(folder, [row for row in folder.rows() if row["status"] == "done"])
    for number, case in enumerate(cases, 1):
        there = _already_there(outcome, case)
        say(f"case {number} of {len(cases)}: {case.identifier}{' is already there' if there else ''}")
        if there:
            continue
        try:
            ready, maps = _explained(explainer, case, plan, say, partial(_tick_map, tick, number, len(cases)))
        except VoxplainError as error:
            if single or isinstance(error, HOPELESS):
                raise
            say(f"  failed: {error}")
            folder.begin(table)
            outcome.add([_failed(case, plan, error)])
        else:
            folder.begin(table)
            outcome.add(_write(folder, case, plan, ready, maps))
    return outcome


def _already_there(outcome: Outcome, case: Case) -> bool:
    """True where an earlier start of the same plan finished this very case; its rows are dropped where it did not."""
    rows = [row for row in outcome.rows if row["case"] == case.identifier]
    if rows and _own_facts(case).items() <= outcome.folder.facts_of(case.identifier).items():
        return True
    outcome.rows = [row for row in outcome.rows if row["case"] != case.identifier]
    return False


def _own_facts(case: Case) -> dict[str, Any]:
    """What decides a case besides the plan, as case.json says it: other facts, other rows."""
    image, mask = (
        one if one is None or case.slice is None else axial_slice(one, case.slice) for one in (case.image, case.mask)
    )
    hashes = {"content_sha256": image and image.content_hash, "mask_sha256": mask and mask.content_hash}
    return {**{key: getattr(case, key) for key in ("label", "group", "split", "slice", "target")}, **hashes}


def _tick_map(tick: Tick, case: int, cases: int, done: int, maps: int) -> None:
    """Say how far the whole run is when `done` of the `maps` of case number `case` are made."""
    tick((case - 1) * maps + done, cases * maps)


def _explained(explainer: Explainer, case: Case, plan: Plan, say: Say, tick: Tick) -> tuple[Ready, list[Attribution]]:
    pairs = list(_pairs(plan, case))
    tick(0, len(pairs))
    ready = explainer.ready(case.image, case.mask, case.slice)
    maps: list[Attribution] = []
    for number, (asked, method) in enumerate(pairs, 1):
        say(f"  {method.name}")
        maps += explainer.maps(ready, asked, method)
        tick(number, len(pairs))
    check = unchanged(plan.model)
    return ready, [_with_check(single, check) for single in maps]


def _with_check(single: Attribution, check: Check) -> Attribution:
    return replace(single, certificate=single.certificate.with_checks(check))


def _pairs(plan: Plan, case: Case) -> Iterator[tuple[Target | None, Any]]:
    targets = (target(case.target),) if case.target else plan.targets
    return ((asked, method) for asked in targets for method in plan.methods)


def _write(folder: RunFolder, case: Case, plan: Plan, ready: Ready, maps: list[Attribution]) -> list[dict[str, Any]]:
    facts = case_facts(case.identifier, ready.image, ready.prediction.to_table(), _own_facts(case))
    mask = ready.mask
    folder.write_case(case.identifier, facts, ready.image, mask, _labels(ready))
    return [_row(folder, case, plan, single, mask) for single in maps]


def _labels(ready: Ready) -> Image | None:
    """The predicted label map on the image's own grid (nearest), where the model segments on the tensor's grid."""
    labels = ready.prediction.labels
    if labels is None or tuple(labels.shape) != tuple(ready.x.shape[2:]):
        return None
    values = labels.numpy().reshape(1, *ready.prepared.grid.shape).astype("float32")
    grid = ready.image.grid
    return Image.of(resample(values, ready.prepared.grid, grid, mode="nearest"), grid)


def _row(folder: RunFolder, case: Case, plan: Plan, single: Attribution, mask: Image | None) -> dict[str, Any]:
    record, numbers = single.provenance.record, single.numbers
    shares = RelevanceMass(sign=single.evidence)(single, mask) if mask is not None else None
    return {
        "case": case.identifier,
        "model": plan.model.label,
        "target": single.target,
        "method": single.method,
        "layer": single.layer,
        "map": folder.write_map(case.identifier, plan.model.label, single),
        "status": "done",
        "error": None,
        "certificate": "passed" if single.certificate.passed else "failed",
        "score": numbers.get("score"),
        "share_in_mask": None if shares is None else shares.value,
        "mask_share": None if shares is None else shares.chance,
        "seconds": record.get("seconds"),
        "forwards": record.get("forwards"),
        "backwards": record.get("backwards"),
    }


def _failed(case: Case, plan: Plan, error: VoxplainError) -> dict[str, Any]:
    return {
        "case": case.identifier,
        "model": plan.model.label,
        "target": case.target or "",
        "method": "",
        "map": None,
        "status": "failed",
        "error": _without_file_names(error, case, plan),
    }


def _without_file_names(error: VoxplainError, case: Case, plan: Plan) -> str:
    """The error's sentence, '...' for every quoted word that is not of the plan: a file's name may be a patient's."""
    ours = str((plan.to_table([case.identifier]), case.image.channels))
    return QUOTED.sub(lambda quoted: quoted[0] if quoted[0][1:-1] in ours else "'...'", str(error))


def check_plan(plan: Plan) -> None:
    """Refuse before any case is read what cannot work: a method that the model does not offer access for."""
    for method in plan.methods:
        plan.model.require(method.access, method.name)
    if not plan.methods:
        raise InputError("at least one method must be asked for, got none; see voxplain methods")
