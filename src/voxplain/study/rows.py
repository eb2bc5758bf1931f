"""The rows of a run: one for each map, for each method that was left out, and for each case that failed."""

from __future__ import annotations

import re
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.errors import VoxplainError
from voxplain.methods import Method
from voxplain.metrics.relevance_mass import RelevanceMass
from voxplain.score.target import Target
from voxplain.spec import text
from voxplain.study.plan import Plan

Row = dict[str, Any]

QUOTED = re.compile(r"""(?<!\w)('[^']*'|"[^"]*")(?!\w)""")
"""A word in quotes, as `repr` writes it; the apostrophe of a genitive is none."""


def done(case: Case, plan: Plan, single: Attribution, mask: Image | None, place: str) -> Row:
    """The row of a map that lies at `place` in the run folder."""
    return laid(case.identifier, plan.model.label, single, mask, place)


def laid(case: str, model: str, single: Attribution, mask: Image | None, place: str) -> Row:
    """The row of a map of a case by a model, both by name."""
    record, numbers = single.provenance.record, single.numbers
    shares = RelevanceMass(sign=single.evidence)(single, mask) if mask is not None else None
    return {
        "case": case,
        "model": model,
        "target": single.target,
        "method": single.method,
        "layer": single.layer,
        "map": place,
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


def refused(case: Case, plan: Plan, asked: Target | None, method: Method, error: VoxplainError) -> Row:
    """The row of a method that cannot explain this very case, where every method was asked for."""
    target, name = "" if asked is None else text(asked), text(method)
    return {**_without_map(case, plan, error), "target": target, "method": name, "status": "refused"}


def failed(case: Case, plan: Plan, error: VoxplainError) -> Row:
    """The row of a case that has no map at all."""
    return _without_map(case, plan, error)


def _without_map(case: Case, plan: Plan, error: VoxplainError) -> Row:
    return {
        "case": case.identifier,
        "model": plan.model.label,
        "target": case.target or "",
        "method": "",
        "map": None,
        "status": "failed",
        "error": without_file_names(error, case, plan),
    }


def without_file_names(error: VoxplainError, case: Case, plan: Plan) -> str:
    """The error's sentence, '...' for every quoted word that is not ours: a file's name may be a patient's."""
    ours = str((plan.to_table([case.identifier]), case.image.channels, list(plan.model.layers)))
    return QUOTED.sub(lambda quoted: quoted[0] if quoted[0][1:-1] in ours else "'...'", str(error))
