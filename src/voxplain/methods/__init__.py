"""Attribution methods: one file each, and the table that names them."""

from importlib.metadata import entry_points

from voxplain.face import answer_calls
from voxplain.methods.ablation_cam import AblationCam
from voxplain.methods.attention_rollout import AttentionRollout
from voxplain.methods.base import Map, Method
from voxplain.methods.blur_ig import BlurIG
from voxplain.methods.deconvnet import Deconvnet
from voxplain.methods.deep_lift import DeepLift
from voxplain.methods.deep_shap import DeepShap
from voxplain.methods.eigen_cam import EigenCam
from voxplain.methods.ensemble import Ensemble
from voxplain.methods.excitation_backprop import ExcitationBackprop
from voxplain.methods.expected_gradients import ExpectedGradients
from voxplain.methods.extremal_perturbation import ExtremalPerturbation
from voxplain.methods.full_grad import FullGrad
from voxplain.methods.gated_grad_cam import GatedGradCam
from voxplain.methods.grad_cam import GradCam
from voxplain.methods.grad_cam_pp import GradCamPp
from voxplain.methods.gradient import Gradient
from voxplain.methods.guided_backprop import GuidedBackprop
from voxplain.methods.guided_grad_cam import GuidedGradCam
from voxplain.methods.guided_ig import GuidedIG
from voxplain.methods.hierarchical_occlusion import HierarchicalOcclusion
from voxplain.methods.hires_cam import HiresCam
from voxplain.methods.input_x_gradient import InputXGradient
from voxplain.methods.integrated_gradients import IntegratedGradients
from voxplain.methods.kernel_shap import KernelShap
from voxplain.methods.layer_cam import LayerCam
from voxplain.methods.layer_gradient import LayerGradient
from voxplain.methods.lime import Lime
from voxplain.methods.lrp import Lrp
from voxplain.methods.modality_shapley import ModalityShapley
from voxplain.methods.occlusion import Occlusion
from voxplain.methods.partition_shap import PartitionShap
from voxplain.methods.region_ablation import RegionAblation
from voxplain.methods.rise import Rise
from voxplain.methods.score_cam import ScoreCam
from voxplain.methods.shapley_sampling import ShapleySampling
from voxplain.methods.smoothgrad import SmoothGrad
from voxplain.methods.xgrad_cam import XgradCam
from voxplain.methods.xrai import XRAI
from voxplain.spec import build

METHODS: dict[str, type[Method]] = {
    "occlusion": Occlusion,
    "rise": Rise,
    "hierarchical_occlusion": HierarchicalOcclusion,
    "region_ablation": RegionAblation,
    "lime": Lime,
    "kernel_shap": KernelShap,
    "shapley_sampling": ShapleySampling,
    "partition_shap": PartitionShap,
    "modality_shapley": ModalityShapley,
    "gradient": Gradient,
    "input_x_gradient": InputXGradient,
    "integrated_gradients": IntegratedGradients,
    "extremal_perturbation": ExtremalPerturbation,
    "guided_ig": GuidedIG,
    "blur_ig": BlurIG,
    "xrai": XRAI,
    "expected_gradients": ExpectedGradients,
    "smoothgrad": SmoothGrad,
    "grad_cam": GradCam,
    "gated_grad_cam": GatedGradCam,
    "grad_cam_pp": GradCamPp,
    "hires_cam": HiresCam,
    "layer_cam": LayerCam,
    "layer_gradient": LayerGradient,
    "xgrad_cam": XgradCam,
    "eigen_cam": EigenCam,
    "score_cam": ScoreCam,
    "ablation_cam": AblationCam,
    "full_grad": FullGrad,
    "attention_rollout": AttentionRollout,
    "guided_grad_cam": GuidedGradCam,
    "guided_backprop": GuidedBackprop,
    "deconvnet": Deconvnet,
    "excitation_backprop": ExcitationBackprop,
    "deep_lift": DeepLift,
    "deep_shap": DeepShap,
    "lrp": Lrp,
    "ensemble": Ensemble,
}
"""Every method of the package by name."""

GROUP = "voxplain.methods"
"""Entry-point group under which other packages join the table."""


def table() -> dict[str, type[Method]]:
    """The package's methods and those that installed packages add; a name already taken stays ours."""
    joined = {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return {**joined, **METHODS}


def method(source: str | Method) -> Method:
    """The method a spec such as 'occlusion(window=16)' stands for."""
    built: Method = build(source, table(), "method")
    return built


__all__ = ["METHODS", "Map", "Method", "method", "table"]

answer_calls(__name__, "table")
