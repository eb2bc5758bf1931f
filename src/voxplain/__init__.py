"""Explanations of medical-imaging models in the scan's own geometry.

Importing this package loads nothing heavy: every name below is fetched from its module when first used.
"""

from typing import TYPE_CHECKING, Any

from voxplain.face import FACE, public

if TYPE_CHECKING:
    from voxplain.data.attribution import Attribution as Attribution
    from voxplain.data.case import Case as Case
    from voxplain.data.image import Image as Image
    from voxplain.data.load import load_image as load_image
    from voxplain.data.load import load_mask as load_mask
    from voxplain.data.prepare import Prepare as Prepare
    from voxplain.methods import method as method
    from voxplain.methods import table as methods
    from voxplain.metrics import metric as metric
    from voxplain.metrics import table as metrics
    from voxplain.phantoms import phantom as phantom
    from voxplain.phantoms import table as phantoms
    from voxplain.report.feedback import collect as feedback
    from voxplain.report.feedback_form import write as feedback_form
    from voxplain.report.page import write as report
    from voxplain.report.studies import study as study
    from voxplain.report.study_pumpkin import run_simulation as run_simulation
    from voxplain.score.load import load_model as load
    from voxplain.score.model import Model as Model
    from voxplain.score.score import Score as Score
    from voxplain.score.target import ClassScore as ClassScore
    from voxplain.score.target import Margin as Margin
    from voxplain.score.target import Probability as Probability
    from voxplain.score.target import Region as Region
    from voxplain.score.target import Regression as Regression
    from voxplain.score.target import target as target
    from voxplain.space.grid import Grid as Grid
    from voxplain.study.audit import audit as audit
    from voxplain.study.benchmark import benchmark as benchmark
    from voxplain.study.compare import compare as compare
    from voxplain.study.evaluate import evaluate as evaluate
    from voxplain.study.explain import explain as explain
    from voxplain.study.flow import flow as flow
    from voxplain.study.fuse import fuse as fuse
    from voxplain.study.influence_run import influence as influence
    from voxplain.study.plan import Plan as Plan
    from voxplain.study.run import run as run
    from voxplain.study.simulate import simulate as simulate
    from voxplain.study.train import train as train

__version__ = "0.1.0"

__all__ = [
    "Attribution",
    "Case",
    "ClassScore",
    "Grid",
    "Image",
    "Margin",
    "Model",
    "Plan",
    "Prepare",
    "Probability",
    "Region",
    "Regression",
    "Score",
    "__version__",
    "audit",
    "benchmark",
    "compare",
    "evaluate",
    "explain",
    "feedback",
    "feedback_form",
    "flow",
    "fuse",
    "influence",
    "load",
    "load_image",
    "load_mask",
    "method",
    "methods",
    "metric",
    "metrics",
    "phantom",
    "phantoms",
    "report",
    "run",
    "run_simulation",
    "simulate",
    "study",
    "target",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in FACE:
        raise AttributeError(f"module 'voxplain' has no attribute {name!r}")
    return public(name)


def __dir__() -> list[str]:
    return __all__
