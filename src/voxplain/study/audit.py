"""An audit: what a model looks at, and which explanations of it can be trusted, check by check."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import InputError, VoxplainError
from voxplain.spec import text
from voxplain.study import (
    audit_agreement,
    audit_clusters,
    audit_nonlinearities,
    audit_occlusion,
    audit_outside,
    audit_planted,
)
from voxplain.study.audit_answers import answers
from voxplain.study.audit_body import Body
from voxplain.study.audit_cohort import Cohort, Seen, see
from voxplain.study.audit_places import ALONG, CORNERS, OUTSIDE
from voxplain.study.audit_recommend import Recommendation, recommend, shortcut
from voxplain.study.audit_sanity import check_sanity, check_stability
from voxplain.study.audit_truthfulness import check_disagreement, check_truthfulness, measured
from voxplain.study.audit_verdict import Verdict
from voxplain.study.plan import Plan
from voxplain.study.run import Say, Tick
from voxplain.study.run_folder import RunFolder

FOLDER, RESULT = "audit", "audit.json"


@dataclass(frozen=True, eq=False)
class Audit:
    """How an audit ended."""

    folder: Path
    verdicts: tuple[Verdict, ...]
    recommendation: Recommendation
    answers: Mapping[str, Any]
    """How often the model is right, where cases have labels."""
    failed: Mapping[str, str]
    """Cases that could not be looked at, and why."""

    def verdict(self, check: str) -> Verdict:
        """The verdict of a check; raises `InputError` for an unknown one."""
        for one in self.verdicts:
            if one.check == check:
                return one
        raise InputError(f"check must be one of {', '.join(one.check for one in self.verdicts)}, got {check!r}")

    def to_table(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "verdicts": [one.to_table() for one in self.verdicts],
            "recommendation": self.recommendation.to_table(),
            "answers": dict(self.answers),
            "failed": dict(self.failed),
        }


def audit(
    plan: Plan,
    cases: Sequence[Case],
    out: Path | str,
    *,
    body: Body = "otsu",
    quick: bool = False,
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
) -> Audit:
    """Audit the model of a plan on cases, by the plan's methods, into the folder `out`.

    Parameters
    ----------
    plan
        Model, preparation, methods, at most one target (default: what is predicted), and seed.
    body
        What counts as body: what is brighter than air and all that it encloses, the cases' masks or segments, or
        voxels that are not 0.
    quick
        Fewer cases, steps and stages in the checks that ask again.

    An interrupted audit goes on with the next case of the check in which it stopped. Raises `InputError` and its kin
    for what a user can put right; what a check cannot do stands in its verdict.

    """
    if not cases:
        raise InputError("at least one case must be given to be audited, got none")
    if len(plan.targets) > 1 or not plan.methods:
        raise InputError("an audit asks about one target by at least one method")
    out = Path(out)
    cohort = Cohort(plan, tuple(cases), body, quick, out / FOLDER)
    asked = plan.to_table([case.identifier for case in cases]) | {"audit": _asked(cohort)}
    folder = RunFolder.at(out, asked)
    folder.begin(asked)
    seen = see(cohort, say, tick)
    failed = {one.case: one.failed for one in seen if one.failed}
    good = [one for one in seen if not one.failed]
    if not good:
        raise InputError(f"no case could be looked at: {seen[0].failed}")
    verdicts = _verdicts(cohort, good, say)
    names = [text(method) for method in plan.methods]
    advice = recommend(verdicts, names)
    trusted = [one.method for one in advice.methods if one.advice != "do not use"]
    whole = (shortcut(verdicts, trusted), *verdicts)
    found = Audit(out, whole, advice, answers(good, cohort.groups), failed)
    with written_beside(out / RESULT) as beside:
        beside.write_text(json_text(found.to_table(), indent=1) + "\n", encoding="utf-8")
    return found


def _asked(cohort: Cohort) -> dict[str, Any]:
    """What, beside the plan, decides the numbers: another body, image, label or patient begins another audit."""
    told = [
        [case.label or "", case.group or "", *map(_hash, (case.image, case.mask, case.segments))]
        for case in cohort.cases
    ]
    return {"body": cohort.body, "quick": cohort.quick, "cases": told}


def _hash(image: Image | None) -> str:
    """Of a copy, since the case's own image would keep its voxels; '' where there is none or it cannot be read."""
    try:
        return "" if image is None else replace(image).content_hash
    except VoxplainError:
        return ""


def _verdicts(cohort: Cohort, seen: Sequence[Seen], say: Say) -> list[Verdict]:
    """Every check, done now or found finished."""
    names, groups, seed = [text(one) for one in cohort.plan.methods], cohort.groups, cohort.plan.seed
    numbers = cache(lambda: measured(cohort))
    wiping = cache(lambda: audit_occlusion.check(seen, groups))
    checks: dict[str, Callable[[], Verdict]] = {
        "wiping": wiping,
        **{place: _outside(seen, names, groups, place) for place in (CORNERS, ALONG, OUTSIDE)},
        "clusters": lambda: audit_clusters.check(seen, names, groups, seed),
        "agreement": lambda: audit_agreement.check(seen, wiping(), names, groups),
        "sanity": lambda: check_sanity(cohort),
        "planted": lambda: audit_planted.check(cohort),
        "certificates": lambda: audit_nonlinearities.check(seen, names),
        "stability": lambda: check_stability(cohort),
        "truthfulness": lambda: check_truthfulness(numbers(), names, groups),
        "disagreement": lambda: check_disagreement(numbers(), groups, seed),
    }
    folder = Path(cohort.folder or "")
    return [_kept(folder / f"{name.replace(' ', '-')}.json", name, make, say) for name, make in checks.items()]


def _outside(
    seen: Sequence[Seen], names: Sequence[str], groups: Mapping[str, str], place: str
) -> Callable[[], Verdict]:
    return lambda: audit_outside.check(seen, names, groups, place)


def _kept(file: Path, name: str, make: Callable[[], Verdict], say: Say) -> Verdict:
    """The verdict that a former start wrote, or a new one."""
    try:
        return Verdict.from_table(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    say(f"checking: {name}")
    try:
        found = make()
    except VoxplainError as error:
        found = Verdict.not_applicable(name, name.capitalize(), str(error))
    with written_beside(file) as beside:
        beside.write_text(json_text(found.to_table(), indent=1) + "\n", encoding="utf-8")
    return found
