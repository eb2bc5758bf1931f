"""The public face: which name of `import voxplain` lives where, and packages that answer when called.

`voxplain.methods` is a package and `voxplain.methods()` lists its table: importing the package binds its name on
`voxplain`, so the package itself must answer.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

FACE = {
    "Attribution": "data.attribution:Attribution",
    "Case": "data.case:Case",
    "ClassScore": "score.target:ClassScore",
    "Grid": "space.grid:Grid",
    "Image": "data.image:Image",
    "Margin": "score.target:Margin",
    "Model": "score.model:Model",
    "Plan": "study.plan:Plan",
    "Prepare": "data.prepare:Prepare",
    "Probability": "score.target:Probability",
    "Region": "score.target:Region",
    "Regression": "score.target:Regression",
    "Score": "score.score:Score",
    "benchmark": "study.benchmark:benchmark",
    "audit": "study.audit:audit",
    "compare": "study.compare:compare",
    "evaluate": "study.evaluate:evaluate",
    "explain": "study.explain:explain",
    "feedback": "report.feedback:collect",
    "feedback_form": "report.feedback_form:write",
    "flow": "study.flow:flow",
    "fuse": "study.fuse:fuse",
    "influence": "study.influence_run:influence",
    "load": "score.load:load_model",
    "load_image": "data.load:load_image",
    "load_mask": "data.load:load_mask",
    "method": "methods:method",
    "methods": "methods",
    "metric": "metrics:metric",
    "metrics": "metrics",
    "phantom": "phantoms:phantom",
    "phantoms": "phantoms",
    "report": "report",
    "run": "study.run:run",
    "run_simulation": "report.study_pumpkin:run_simulation",
    "simulate": "study.simulate:simulate",
    "study": "study",
    "target": "score.target:target",
    "train": "study.train:train",
}
"""Public name -> the module under `voxplain` it lives in, and its name there (none: the package itself, callable)."""


def public(name: str) -> Any:
    """What a public name stands for; raises `KeyError` for any other."""
    module, _, inside = FACE[name].partition(":")
    found = import_module(f"voxplain.{module}")
    return getattr(found, inside) if inside else found


def answer_calls(package: str, inside: str) -> None:
    """Make calling a package call the function `inside` ('module:name', fetched when first called).

    The module is one below the package, or by its full name one of another package.
    """
    module, _, name = inside.rpartition(":")
    full = module if module.startswith("voxplain.") else f"{package}.{module}"

    class Answering(ModuleType):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            home = import_module(full) if module else self
            return getattr(home, name)(*arguments, **options)

    sys.modules[package].__class__ = Answering
