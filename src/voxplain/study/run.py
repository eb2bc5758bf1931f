"""A run: one model over many cases, targets and methods, into a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.certificate import Check
from voxplain.data.image import Image
from voxplain.data.slices import axial_slice
from voxplain.errors import InputError, MissingExtra, OptionError, TrustError, VoxplainError, shortened
from voxplain.methods import Method
from voxplain.score.target import Target, target
from voxplain.space.resample import resample
from voxplain.study import rows
from voxplain.study.certify import unchanged
from voxplain.study.explain import Explainer
from voxplain.study.overlap import MOST_BEHIND, Ahead, Behind
from voxplain.study.plan import Plan
from voxplain.study.ready import Ready
from voxplain.study.rows import Row
from voxplain.study.run_folder import RunFolder, case_facts

Say = Callable[[str], None]
"""Takes one line of progress."""

Tick = Callable[[int, int], None]
"""Takes how many maps are done and how many there will be."""

HOPELESS = (OptionError, TrustError, MissingExtra)
"""Errors that every further case would repeat: the run stops at once."""

STANDING = ("done", "refused")
"""Rows that hold as long as their case stays the same; what failed is tried again."""


@dataclass
class Outcome:
    """How a run ended."""

    folder: RunFolder
    rows: list[Row] = field(default_factory=list)
    """Changed by the writing thread alone, each time as a new list: others read it meanwhile."""

    def of(self, case: Case) -> list[Row]:
        """The rows of one case."""
        return [row for row in self.rows if row["case"] == case.identifier]

    def forget(self, case: Case) -> None:
        """Remove what a former start wrote of a case, rows first: an interrupt must not leave them to new maps."""
        dropped = self.of(case)
        if dropped:
            self.rows = [row for row in self.rows if row["case"] != case.identifier]
            self.folder.write_rows(self.rows)
            self.folder.remove_maps(row["map"] for row in dropped)

    def add(self, found: list[Row]) -> None:
        """Write one more case's rows, so that an interrupt loses only the case that is being worked on."""
        self.rows = [*self.rows, *found]
        self.folder.write_rows(self.rows)
        self.folder.log(f"{found[0]['case']}: {', '.join(row['status'] for row in found)}")

    @property
    def failed(self) -> list[Row]:
        """Rows that ended in an error."""
        return [row for row in self.rows if row["status"] == "failed"]

    @property
    def refused(self) -> list[Row]:
        """Rows of methods that were left out."""
        return [row for row in self.rows if row["status"] == "refused"]

    def _repr_html_(self) -> str:
        """What a notebook shows: a row a map, and where the folder is."""
        names = ("case", "target", "method", "status", "share_in_mask")
        cells = [
            [escape("" if (value := row.get(name)) is None else str(value)) for name in names] for row in self.rows
        ]
        body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in cells)
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
        return f"<p>{len(cells)} rows in {escape(str(self.folder.path))}</p><table><tr>{head}</tr>{body}</table>"


@dataclass(frozen=True, eq=False)
class Made:
    """What came out of one case."""

    ready: Ready
    maps: list[Attribution]
    refused: list[Row]
    more: Sequence[Row] = ()
    """Further entries of each map's row; none: a row has no others."""


Make = Callable[[Explainer, Case, Plan, Say, Tick], Made]
"""Makes all maps of one case."""


def run(
    plan: Plan,
    cases: Sequence[Case],
    out: Path,
    *,
    single: bool = False,
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
    make: Make | None = None,
) -> Outcome:
    """Explain every case; rows are written after each one, so that an interrupted run goes on where it stopped.

    The next case is read and the last one written while a case is worked on; voxels of other cases are not kept.

    With `single`, the first error ends the run before anything is written. Otherwise an error is a failed row, unless
    every further case would repeat it. `make` makes the maps of a case; left out: those of the plan's questions.
    """
    table = plan.to_table([case.identifier for case in cases])
    folder = RunFolder.at(out, table)
    explainer = Explainer(plan.model, plan.prepare, plan.budget, plan.seed, plan.verify, plan.references)
    outcome = Outcome(folder, [row for row in folder.rows() if row["status"] in STANDING])
    for line in plan.left_out:
        say(f"left out: {line}")
    with Ahead(cases) as ahead, Behind() as behind:
        for number in range(1, len(cases) + 1):
            case = ahead.case(number - 1)
            there = _already_there(outcome, case, plan, single)
            say(f"case {number} of {len(cases)}: {case.identifier}{there}")
            if there:
                continue
            ahead.read(number)
            making = partial(make or _made, explainer, case, plan, say, partial(_tick_map, tick, number, len(cases)))
            made = _tried_case(making, case, plan, single, say)
            behind.do(partial(_finish, outcome, case, plan, table, made))
            if isinstance(made, Made) and sum(one.values.nbytes for one in made.maps) > MOST_BEHIND:
                behind.wait()
    return outcome


def _tried_case(making: Callable[[], Made], case: Case, plan: Plan, single: bool, say: Say) -> Made | Row:
    """What came of a case: its maps, or the row of its failure."""
    try:
        return making()
    except VoxplainError as error:
        if single or isinstance(error, HOPELESS):
            raise
        say(f"  failed: {error}")
        return rows.failed(case, plan, error)


def _finish(outcome: Outcome, case: Case, plan: Plan, table: Mapping[str, Any], made: Made | Row) -> None:
    """Write what came of a case, in place of what a former start left of it."""
    outcome.folder.begin(table)
    outcome.forget(case)
    outcome.add(_write(outcome.folder, case, plan, made) if isinstance(made, Made) else [made])


def _already_there(outcome: Outcome, case: Case, plan: Plan, single: bool) -> str:
    """Why a case needs no work, in words; '' where it does.

    It needs none where an earlier start of the same plan finished this very case, or one whose files can no longer be
    read: a drive that is away must not take finished work with it.
    """
    try:
        if outcome.of(case) and _own_facts(case).items() <= outcome.folder.facts_of(case.identifier).items():
            return " is already there"
    except VoxplainError as error:
        if single:
            raise
        outcome.folder.log(f"{case.identifier}: kept, {rows.without_file_names(error, case, plan)}")
        return f" is already there, but nobody can tell whether it is still the same: {error}"
    return ""


def _own_facts(case: Case) -> dict[str, Any]:
    """What decides a case besides the plan, as case.json says it: other facts, other rows."""
    files = {"content": case.image, "mask": case.mask, "segments": case.segments}
    hashes = {f"{name}_sha256": one and _sliced(one, case).content_hash for name, one in files.items()}
    return {**{key: getattr(case, key) for key in ("label", "group", "split", "slice", "target")}, **hashes}


def _sliced(image: Image, case: Case) -> Image:
    return image if case.slice is None else axial_slice(image, case.slice)


def _tick_map(tick: Tick, case: int, cases: int, done: int, maps: int) -> None:
    """Say how far the whole run is when `done` of the `maps` of case number `case` are made."""
    tick((case - 1) * maps + done, cases * maps)


def _made(explainer: Explainer, case: Case, plan: Plan, say: Say, tick: Tick) -> Made:
    """Every map of one case."""
    pairs = list(questions(plan, case))
    tick(0, len(pairs))
    ready = explainer.ready(case.image, case.mask, case.slice, case.segments)
    say(f"  {shortened(method.name for _, method in pairs)}")
    done = partial(_tick_pair, tick, len(pairs))
    if plan.every:
        maps, refused = _tried(explainer, case, plan, ready, say, done)
    else:
        maps, refused = explainer.maps(ready, pairs, done), []
    check = unchanged(plan.model)
    return Made(ready, [with_check(single, check) for single in maps], refused)


def _tick_pair(tick: Tick, total: int, done: int) -> None:
    tick(done, total)


def _tried(
    explainer: Explainer, case: Case, plan: Plan, ready: Ready, say: Say, done: Callable[[int], None]
) -> tuple[list[Attribution], list[Row]]:
    """The maps of all methods that can explain a case, and a row for each that cannot; an error where none can."""
    pairs = list(questions(plan, case))
    for asked in dict.fromkeys(asked for asked, _ in pairs):
        explainer.check(ready, asked)  # a target that cannot work is the case's error and no method's
    tried = [*zip(pairs, explainer.tried(ready, pairs, done), strict=True)]
    errors = [(*pair, found) for pair, found in tried if isinstance(found, VoxplainError)]
    if len(errors) == len(tried):
        raise errors[0][2]
    for _, method, error in errors:
        say(f"  left out: {_by_name(method, error)}")
    maps = [single for _, found in tried if not isinstance(found, VoxplainError) for single in found]
    return maps, [rows.refused(case, plan, *one) for one in errors]


def _by_name(method: Method, error: VoxplainError) -> str:
    """The sentence, with the method's name where it does not begin with it."""
    return str(error) if str(error).startswith(method.name) else f"{method.name}: {error}"


def with_check(single: Attribution, check: Check) -> Attribution:
    """The map with one more check on its certificate."""
    return replace(single, certificate=single.certificate.with_checks(check))


def questions(plan: Plan, case: Case) -> Iterator[tuple[Target | None, Method]]:
    """What is asked about a case: each target with each method."""
    targets = (target(case.target),) if case.target else plan.targets
    return ((asked, method) for asked in targets for method in plan.methods)


def _write(folder: RunFolder, case: Case, plan: Plan, made: Made) -> list[Row]:
    ready, mask = made.ready, made.ready.mask
    facts = case_facts(case.identifier, ready.image, ready.prediction.to_table(), _own_facts(case))
    folder.write_case(case.identifier, facts, ready.image, mask, _labels(ready))
    model = plan.model.label
    places = [folder.write_map(case.identifier, model, single) for single in made.maps]
    found = [rows.done(case, plan, one, mask, place) for one, place in zip(made.maps, places, strict=True)]
    more = made.more or [{}] * len(found)
    return [*({**row, **own} for row, own in zip(found, more, strict=True)), *made.refused]


def _labels(ready: Ready) -> Image | None:
    """The predicted label map on the image's own grid (nearest), where the model segments on the tensor's grid."""
    labels = ready.prediction.labels
    if labels is None or tuple(labels.shape) != tuple(ready.x.shape[2:]):
        return None
    values = labels.numpy().reshape(1, *ready.prepared.grid.shape).astype("float32")
    grid = ready.image.grid
    return Image.of(resample(values, ready.prepared.grid, grid, mode="nearest"), grid)


def check_plan(plan: Plan) -> None:
    """Refuse before any case is read what cannot work: a method without the access or the references it needs."""
    for method in plan.methods:
        plan.model.require(method.needed_access, method.name)
        if method.wants_reference and not plan.references:
            raise InputError(f"{method.name} needs reference images; pass --reference (reference= in Python)")
    if not plan.methods:
        raise InputError("at least one method must be asked for, got none; see voxplain methods")
