"""Every method of the table with options small enough for a test, and a score with all that one may need."""

import torch

from tests.nets import batch, network, seeded, target_for
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.score import Score

SPECS = {
    "occlusion": "occlusion(window=4, stride=3)",
    "rise": "rise(samples=16, cells=3)",
    "hierarchical_occlusion": "hierarchical_occlusion(window=4, min_window=2)",
    "region_ablation": "region_ablation(background=0.5)",
    "lime": "lime(samples=20, segmenter='grid', segments=6)",
    "kernel_shap": "kernel_shap(samples=20, segmenter='grid', segments=6)",
    "shapley_sampling": "shapley_sampling(samples=2, segmenter='grid', segments=4)",
    "modality_shapley": "modality_shapley()",
    "partition_shap": "partition_shap(max_evals=20)",
    "integrated_gradients": "integrated_gradients(steps=3)",
    "extremal_perturbation": "extremal_perturbation(steps=3, step=2)",
    "guided_ig": "guided_ig(steps=4)",
    "blur_ig": "blur_ig(steps=4)",
    "xrai": "xrai(segments='given', steps=2, dilation=1, least_new=4)",
    "expected_gradients": "expected_gradients(samples=4)",
    "smoothgrad": "smoothgrad(samples=3)",
    "gradient": "gradient()",
    "input_x_gradient": "input_x_gradient()",
    "grad_cam": "grad_cam(layer='second')",
    "gated_grad_cam": "gated_grad_cam(layer='second')",
    "grad_cam_pp": "grad_cam_pp(layer='second')",
    "hires_cam": "hires_cam(layer='second')",
    "layer_cam": "layer_cam(layer='second')",
    "layer_gradient": "layer_gradient(layer='second')",
    "xgrad_cam": "xgrad_cam(layer='second')",
    "eigen_cam": "eigen_cam(layer='second')",
    "score_cam": "score_cam(layer='second')",
    "ablation_cam": "ablation_cam(layer='second')",
    "full_grad": "full_grad()",
    "attention_rollout": "attention_rollout()",
    "guided_grad_cam": "guided_grad_cam(layer='second')",
    "guided_backprop": "guided_backprop()",
    "deconvnet": "deconvnet()",
    "excitation_backprop": "excitation_backprop()",
    "deep_lift": "deep_lift()",
    "lrp": "lrp()",
    "deep_shap": "deep_shap()",
    "ensemble": "ensemble(of=['occlusion(window=4)', 'occlusion(window=3, fill=1)'], block=2, rule='median')",
}
"""Options small enough for a test; a method without an entry here fails `test_every_method_is_under_contract`."""

NOT_HOMOGENEOUS: dict[str, str] = {
    "extremal_perturbation": "it is a mask between 0 and 1, and weighs the score in shares of its own range",
    "excitation_backprop": "it is a probability, which begins with 1 at the output",
    "grad_cam_pp": "its alphas hold the gradient in their denominator",
    "attention_rollout": "it reads attention only, whatever the score",
    "eigen_cam": "it reads the layer's activations only, whatever the score",
    "score_cam": "its weights are probabilities",
    "guided_grad_cam": "both factors of the product double, so that it becomes four times as large",
    "lrp": "its stabiliser is a fixed number beside the score",
    "ensemble": "its members are brought to 0..1 before they are joined",
}
"""Methods whose map does not double with the score, and why."""


def scored(module: torch.nn.Module | Model, target: str, rank: int = 2, **options: object) -> Score:
    """A score with all that a method may need besides the image."""
    reference = batch(rank, count=3, seed=9)
    segments = torch.arange(reference[0, 0].numel()).reshape(1, *reference.shape[2:]) // 24
    return Score(module, target, reference=reference, segments=segments, **options)


def ask(rank: int, task: str, name: str, x: torch.Tensor | None = None, **options: object):
    """The map of one method on one kind of network."""
    score = scored(seeded(network(name), rank, task), target_for(task), rank, **options)
    return method(SPECS[name])(score, batch(rank) if x is None else x)
