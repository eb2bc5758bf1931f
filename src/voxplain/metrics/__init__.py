"""Metrics of maps: one file each, and the table that names them."""

from importlib.metadata import entry_points

from voxplain.face import answer_calls
from voxplain.metrics.abpc import Abpc
from voxplain.metrics.auprc import Auprc
from voxplain.metrics.auroc import Auroc
from voxplain.metrics.avg_sensitivity import AvgSensitivity
from voxplain.metrics.base import MaskMetric, Measured, Metric
from voxplain.metrics.completeness import Completeness
from voxplain.metrics.deletion import Deletion
from voxplain.metrics.delta_aupc import DeltaAupc
from voxplain.metrics.dice import Dice
from voxplain.metrics.effective_complexity import EffectiveComplexity
from voxplain.metrics.efficient_mprt import EfficientMprt
from voxplain.metrics.entropy import Entropy
from voxplain.metrics.faithfulness_correlation import FaithfulnessCorrelation
from voxplain.metrics.hit_rate import HitRate
from voxplain.metrics.infidelity import Infidelity
from voxplain.metrics.input_invariance import InputInvariance
from voxplain.metrics.insertion import Insertion
from voxplain.metrics.iou import Iou
from voxplain.metrics.irof import Irof
from voxplain.metrics.label_randomisation import LabelRandomisation
from voxplain.metrics.lerf_aopc import LerfAopc
from voxplain.metrics.lesion_sensitivity import LesionSensitivity
from voxplain.metrics.local_lipschitz import LocalLipschitz
from voxplain.metrics.mass_distance import MassDistance
from voxplain.metrics.max_sensitivity import MaxSensitivity
from voxplain.metrics.modality_importance import ModalityImportance
from voxplain.metrics.monotonicity import Monotonicity
from voxplain.metrics.morf_aopc import MorfAopc
from voxplain.metrics.mprt import Mprt
from voxplain.metrics.msfi import Msfi
from voxplain.metrics.nuisance import NuisanceRobustness
from voxplain.metrics.outside_share import OutsideShare
from voxplain.metrics.pointing_game import PointingGame
from voxplain.metrics.random_logit import RandomLogit
from voxplain.metrics.relative_input_stability import RelativeInputStability
from voxplain.metrics.relative_output_stability import RelativeOutputStability
from voxplain.metrics.relative_representation_stability import RelativeRepresentationStability
from voxplain.metrics.relevance_mass import RelevanceMass
from voxplain.metrics.relevance_rank import RelevanceRank
from voxplain.metrics.repeatability import Repeatability
from voxplain.metrics.reproducibility import Reproducibility
from voxplain.metrics.road import Road
from voxplain.metrics.sensitivity_n import SensitivityN
from voxplain.metrics.smooth_mprt import SmoothMprt
from voxplain.metrics.sparseness import Sparseness
from voxplain.metrics.top_k import TopK
from voxplain.spec import build

METRICS: dict[str, type[Metric]] = {
    "abpc": Abpc,
    "auprc": Auprc,
    "auroc": Auroc,
    "avg_sensitivity": AvgSensitivity,
    "completeness": Completeness,
    "deletion": Deletion,
    "delta_aupc": DeltaAupc,
    "dice": Dice,
    "effective_complexity": EffectiveComplexity,
    "efficient_mprt": EfficientMprt,
    "entropy": Entropy,
    "faithfulness_correlation": FaithfulnessCorrelation,
    "hit_rate": HitRate,
    "infidelity": Infidelity,
    "input_invariance": InputInvariance,
    "insertion": Insertion,
    "iou": Iou,
    "irof": Irof,
    "label_randomisation": LabelRandomisation,
    "lerf_aopc": LerfAopc,
    "lesion_sensitivity": LesionSensitivity,
    "local_lipschitz": LocalLipschitz,
    "mass_distance": MassDistance,
    "max_sensitivity": MaxSensitivity,
    "modality_importance": ModalityImportance,
    "monotonicity": Monotonicity,
    "morf_aopc": MorfAopc,
    "mprt": Mprt,
    "msfi": Msfi,
    "nuisance": NuisanceRobustness,
    "outside_share": OutsideShare,
    "pointing_game": PointingGame,
    "random_logit": RandomLogit,
    "relative_input_stability": RelativeInputStability,
    "relative_output_stability": RelativeOutputStability,
    "relative_representation_stability": RelativeRepresentationStability,
    "relevance_mass": RelevanceMass,
    "relevance_rank": RelevanceRank,
    "repeatability": Repeatability,
    "reproducibility": Reproducibility,
    "road": Road,
    "sensitivity_n": SensitivityN,
    "smooth_mprt": SmoothMprt,
    "sparseness": Sparseness,
    "top_k": TopK,
}
"""Every metric of the package by name."""

GROUP = "voxplain.metrics"
"""Entry-point group under which other packages join the table."""


def table() -> dict[str, type[Metric]]:
    """The package's metrics and those that installed packages add; a name already taken stays ours."""
    joined = {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return {**joined, **METRICS}


def metric(source: str | Metric) -> Metric:
    """The metric a spec such as 'relevance_mass(sign='absolute')' stands for."""
    built: Metric = build(source, table(), "metric")
    return built


__all__ = ["METRICS", "MaskMetric", "Measured", "Metric", "metric", "table"]

answer_calls(__name__, "table")
