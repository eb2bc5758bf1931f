"""How good maps are: cases x methods x metrics, in a run folder, with a summary that never is a bare mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.errors import InputError, OptionError
from voxplain.metrics.base import Metric, Need
from voxplain.metrics.base_method import Second
from voxplain.score.model import Model
from voxplain.study.evaluate_again import measure_again
from voxplain.study.evaluate_asked import Asked, asked_metrics
from voxplain.study.evaluate_case import NO_MASK
from voxplain.study.evaluate_cases import made_and_measured, measure_case
from voxplain.study.evaluate_folder import Place, failed_rows, opened, places, plan_of, plan_table
from voxplain.study.evaluate_job import Body, Entry, Job
from voxplain.study.evaluate_rows import MetricRows, key_of
from voxplain.study.evaluate_summary import flat, summary, write_summary
from voxplain.study.plan import Plan
from voxplain.study.rows import Row
from voxplain.study.run import Say, Tick, check_plan, run
from voxplain.study.run_folder import RunFolder

SHOWN = ("metric", "method", "value", "low", "high", "n")
"""The columns that a notebook shows of a summary."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How an evaluation ended; its rows stay on disk, since there may be more of them than memory holds."""

    folder: Path
    summary: Mapping[str, Any]
    """As summary.json has it."""
    failed: int
    """Rows that have no number although they should, and cases that could not be explained."""
    left_out: tuple[str, ...] = field(default=())
    """What was not measured, and why, in sentences."""

    def rows(self) -> list[Row]:
        """Every row of metrics.jsonl."""
        return [*MetricRows(self.folder).rows()]

    def _repr_html_(self) -> str:
        """What a notebook shows: the means with their intervals."""
        cells = [[_shown(row.get(name)) for name in SHOWN] for row in flat(self.summary)]
        body = "".join(f"<tr>{''.join(f'<td>{escape(one)}</td>' for one in row)}</tr>" for row in cells)
        head = "".join(f"<th>{name}</th>" for name in SHOWN)
        return f"<p>{escape(str(self.summary['interval']))}</p><table><tr>{head}</tr>{body}</table>"


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def evaluate(
    what: Plan | Path | str,
    cases: Sequence[Case] | None = None,
    out: Path | str | None = None,
    *,
    metrics: Sequence[str | Metric] | None = None,
    model: Model | None = None,
    second: Sequence[Model | Second] = (),
    references: Sequence[Image] = (),
    body: Body = "all",
    single: bool = False,
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
) -> Evaluation:
    """Measure how good the maps of a plan or of a finished run are; controls are measured beside.

    Parameters
    ----------
    what
        A plan, whose maps of `cases` are made into the run folder `out` and measured on the way; or a run folder,
        whose maps are measured.
    metrics
        Specs such as `"deletion(imputer='mean')"`, or `"all"`; left out: a quick set of every kind.
    model
        For a run folder: the model that its maps explain. Without one only those metrics are asked that look at maps
        and masks.
    second
        Further models for metrics that compare with them; `Second(model, shuffled=True)` for one that learnt from
        shuffled labels.
    references
        For a run folder: the reference images of the run, which it does not keep.
    body
        Which voxels count: all, those of the case's segments, or those that are not 0.

    An interrupted evaluation goes on where it stopped, and rows of other metrics in the folder stay. Raises
    `InputError` and its kin for what a user can put right; what goes wrong with one case stands in its rows.

    """
    others = tuple(one if isinstance(one, Second) else Second(one) for one in second)
    asked = asked_metrics(metrics, second=bool(others))
    _check_second(asked, others)
    if isinstance(what, Plan):
        if cases is None or out is None:
            raise InputError("a plan is evaluated on cases into a run folder; pass cases and out")
        job = _planned(what, cases, Path(out), asked, others, body)
        run(what, cases, Path(out), single=single, say=say, tick=tick, make=partial(made_and_measured, job))
    else:
        job = _of_folder(Path(what), asked, model, others, references, body, cases)
    left_out = _left_out(job, metrics is None)
    for line in left_out:
        say(f"left out: {line}")
    _fill(job, say, tick)
    return _finished(job, left_out)


def _planned(
    plan: Plan, cases: Sequence[Case], out: Path, asked: tuple[Asked, ...], second: tuple[Second, ...], body: Body
) -> Job:
    check_plan(plan)
    if not cases:
        raise InputError("at least one case must be given to be measured, got none")
    folder = RunFolder.at(out, plan.to_table([case.identifier for case in cases]))
    given = {case.identifier: case for case in cases}
    return Job(folder, MetricRows(out), asked, plan.model.label, plan, second, body, given)


def _of_folder(
    path: Path,
    asked: tuple[Asked, ...],
    model: Model | None,
    second: tuple[Second, ...],
    references: Sequence[Image],
    body: Body,
    cases: Sequence[Case] | None,
) -> Job:
    folder = opened(path)
    folder.probe()
    plan = None if model is None else plan_of(folder, model, references)
    given = None if cases is None else {case.identifier: case for case in cases}
    name = str(dict(plan_table(folder).get("model", {})).get("name", ""))
    return Job(folder, MetricRows(path), asked, name, plan, second, body, given)


def _check_second(asked: Sequence[Asked], second: Sequence[Second]) -> None:
    lonely = [one.name for one in asked if one.needs_second and not second]
    if lonely:
        raise OptionError(f"{lonely[0]} compares with another model; pass --second-model (second= in Python)")


def _left_out(job: Job, default: bool) -> tuple[str, ...]:
    """What cannot be measured here, in sentences; an error where that was asked for by name."""
    asking = job.of(Need.MODEL, Need.METHOD)
    if job.plan is not None or not asking:
        return ()
    names = ", ".join(one.name for one in asking)
    if not default:
        raise OptionError(f"{names} must ask the model; pass --model and --weights as for voxplain explain")
    return (f"{names} must ask the model; pass --model and --weights as for voxplain explain",)


def _fill(job: Job, say: Say, tick: Tick) -> None:
    """Measure whatever of the folder's maps has no number yet."""
    maps = {name: own for name, own in places(job.folder).items() if own and _is_given(job, name)}
    for number, (name, own) in enumerate(maps.items(), 1):
        measure_case(job, name, own, say)
        tick(number, len(maps))
    if job.explainer is not None and job.of(Need.METHOD) and maps:
        measure_again(job, maps, say, tick)
    _fail_cases(job, maps)


def _is_given(job: Job, name: str) -> bool:
    return job.given is None or name in job.given


def _fail_cases(job: Job, maps: Mapping[str, Sequence[Place]]) -> None:
    """Rows of the cases that have no maps at all, for every method that others have maps of."""
    names = list(dict.fromkeys((one.method, one.layer) for own in maps.values() for one in own))
    for row in failed_rows(job.folder):
        case, reason = str(row["case"]), str(row.get("error") or "the case could not be explained")
        entries = [Entry(str(row.get("target") or ""), *name, key_of(case=case, reason=reason)) for name in names]
        begun = job.begun(case, job.folder.facts_of(case))
        job.fail(begun, job.wanted(case, entries, job.asked), reason)


def _finished(job: Job, left_out: tuple[str, ...]) -> Evaluation:
    job.store.finish(partial(_holds, places(job.folder), {str(row["case"]) for row in failed_rows(job.folder)}))
    found = summary(job.store.rows())
    write_summary(job.folder.path, found)
    failed = sum(row["status"] == "failed" and not row["control"] for row in job.store.rows())
    return Evaluation(job.folder.path, found, failed + len(failed_rows(job.folder)), left_out)


def _holds(maps: Mapping[str, Sequence[Place]], failed: set[str], row: Row) -> bool:
    """Whether a row is of a map that the folder still holds, of a control beside one, or of a case that failed."""
    own = maps.get(str(row["case"]), ())
    if not own:
        return str(row["case"]) in failed
    if row["control"]:
        return any(one.target == row["target"] for one in own)
    return any((one.target, one.method, one.layer) == (row["target"], row["method"], row["layer"]) for one in own)


def without_masks(found: Mapping[str, Any]) -> int:
    """How many rows of a summary lack a number because the case has no mask."""
    return sum(count for row in flat(found) for reason, count in row["reasons"].items() if reason == NO_MASK)
