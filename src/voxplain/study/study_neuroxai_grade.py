"""The classifier's half of the NeuroXAI study: every slice of a list explained for its predicted grade."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from voxplain.data.case import Case
from voxplain.errors import InputError
from voxplain.spec import text
from voxplain.study.explain import Explainer
from voxplain.study.flow_layers import convolutions
from voxplain.study.plan import Plan
from voxplain.study.run import Say, run
from voxplain.study.study_neuroxai_methods import grade_methods, write_explained

RUN = "run"
"""The run folder inside that of a half."""


def explain_grades(explainer: Explainer, cases: Sequence[Case], folder: Path, say: Say) -> None:
    """Seven maps a slice in `folder`/run, and the list of what there is."""
    if not cases:
        raise InputError("there must be slices to explain, got none in the test part")
    first = explainer.ready(cases[0].image, slice_index=cases[0].slice)
    layer = convolutions(explainer.model, first.x)[-1]
    methods = grade_methods(layer)
    plan = Plan(explainer.model, explainer.prepare, (None,), tuple(methods.values()), explainer.seed)
    outcome = run(plan, cases, folder / RUN, say=say)
    if outcome.failed:
        raise InputError(f"case {outcome.failed[0]['case']!r} could not be explained: {outcome.failed[0]['error']}")
    told = [{"id": case.identifier, "slice": case.slice, "label": case.label} for case in cases]
    specs = {name: text(one) for name, one in methods.items()}
    write_explained(folder, {"layer": layer, "methods": specs, "cases": told})
