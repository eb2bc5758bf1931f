"""What the model says about a sample: kind of output, scores, probabilities, and the answer in words."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from voxplain.ops.relabel import FewRelabelled
from voxplain.score.choice import probabilities, resolved, scores
from voxplain.score.model import Model
from voxplain.score.target import ClassScore, Region, Regression, Target


@dataclass(frozen=True, eq=False)
class Prediction:
    """The model's answer for one sample."""

    kind: str
    """classification, segmentation or regression."""
    class_names: tuple[str, ...]
    scores: tuple[float, ...]
    """Logits a class, output values of a regression, or voxels a class of a segmentation (on the output's grid)."""
    probabilities: tuple[float, ...]
    """One a class; empty for regression and segmentation."""
    predicted: int | None
    words: str
    overlapping: bool = False
    """True where a voxel may belong to several classes, so that none is the background."""
    labels: Tensor | None = None
    """Predicted class of each output voxel (*space), for segmentation."""

    def to_table(self) -> dict[str, Any]:
        """As plain JSON values, without the label map."""
        return {key: value for key, value in asdict(self).items() if key != "labels"}

    @property
    def default_target(self) -> Target:
        """What is explained when nobody named a target."""
        if self.kind == "regression":
            return Regression(0)
        if self.kind == "classification":
            return ClassScore()
        if len(self.scores) == 1 and not self.overlapping:  # one number a voxel and no classes
            return Region(0, over="whole")
        candidates = range(len(self.scores)) if self.overlapping else range(1, len(self.scores))
        return Region(max(candidates, key=self.scores.__getitem__))


def prediction(output: Tensor, model: Model) -> Prediction:
    """The answer in a model's output for one sample, (1, class) or (1, class, *space)."""
    output = output.detach().double().cpu()
    if output.ndim > 2:
        return _segmentation(output, model)
    if model.head == "regression":
        values = tuple(output[0].tolist())
        return Prediction("regression", model.class_names, values, (), None, ", ".join(f"{v:.4g}" for v in values))
    return _classification(output, model)


def _classification(output: Tensor, model: Model) -> Prediction:
    logits, chances = scores(output, model.head)[0], probabilities(output, model.head)[0]
    best = int(logits.argmax())
    name = _name(best, model.class_names)
    if resolved(output, model.head) == "multi_label":
        found = [_name(n, model.class_names) for n in range(len(chances)) if chances[n] > 0.5]
        words = ", ".join(found) if found else f"nothing above 0.5 (highest: {name})"
    else:
        words = f"{name} ({float(chances[best]):.2f})"
    return Prediction("classification", model.class_names, tuple(logits.tolist()), tuple(chances.tolist()), best, words)


def _segmentation(output: Tensor, model: Model) -> Prediction:
    values = scores(output, model.head)[0]
    overlapping = resolved(output, model.head) == "multi_label"
    best = values.argmax(dim=0)
    finish = getattr(model.module, "postprocess", None)
    if isinstance(finish, FewRelabelled) and not overlapping:
        best = finish(best)
    labels = torch.where(values.amax(dim=0) > 0, best + 1, 0) if overlapping else best
    count = len(values)
    inside = values > 0 if overlapping else torch.stack([best == n for n in range(count)])
    sizes = inside.flatten(1).sum(dim=1).tolist()
    told = range(0 if overlapping else 1, count)
    counted = ", ".join(f"{_name(n, model.class_names)}: {sizes[n]} voxels" for n in told)
    # The output's grid need not be the image's: without its size a count would be taken for the image's own voxels.
    grid = " x ".join(map(str, values.shape[1:]))
    words = f"{counted} on the model's grid of {grid}" if counted else "one number a voxel"
    counts = tuple(map(float, sizes))
    return Prediction("segmentation", model.class_names, counts, (), None, words, overlapping, labels)


def _name(index: int, class_names: tuple[str, ...]) -> str:
    return class_names[index] if index < len(class_names) else f"class {index}"
