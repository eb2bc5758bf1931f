"""Transfer classifiers: a backbone of timm with a new head, as three of the source studies build them."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from voxplain.errors import InputError, OptionError, missing_extra, unknown
from voxplain.score.networks_pretrained import begin_as_keras, start_backbone

BACKBONES = {
    "xception": "legacy_xception",
    "inception_v3": "inception_v3",
    "resnet50": "resnet50",
    "densenet201": "densenet201",
    "resnet50v2": "resnetv2_50",
}
"""Backbone as the studies name it, to the name timm has for it; any other name is timm's own."""


class TransferClassifier(nn.Module):
    """`backbone` to a map of features, then `head` to logits.

    A frozen backbone has parameters that ask for no gradient; `head` is what is always trained.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, origin: str) -> None:
        super().__init__()
        self.backbone, self.head, self.origin = backbone, head, origin

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of pictures (batch, channels, rows, columns)."""
        logits: Tensor = self.head(self.backbone(x))
        return logits


class HeadPlan(NamedTuple):
    """One of the sources' heads, and how its backbone is trained."""

    build: Callable[[int, int, float, int, int], nn.Sequential]
    """Head of features, hidden units, dropout, classes and rows of the last map."""
    dropout: float
    frozen: bool


def _low(features: int, hidden: int, dropout: float, classes: int, side: int) -> nn.Sequential:
    """Mean over the map, one hidden layer."""
    dense = [nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)]
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dense)


def _best(features: int, hidden: int, dropout: float, classes: int, side: int) -> nn.Sequential:
    """Mean over the map, three linear layers, each behind a dropout."""
    widths = [features, hidden, max(1, hidden // 2)]
    dense = [
        part
        for before, after in pairwise(widths)
        for part in (nn.Dropout(dropout), nn.Linear(before, after), nn.ReLU())
    ]
    last = [nn.Dropout(dropout), nn.Linear(widths[-1], classes)]
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dense, *last)


def _grade(features: int, hidden: int, dropout: float, classes: int, side: int) -> nn.Sequential:
    """Means of 3 x 3 places that do not overlap, all of them into one hidden layer."""
    if side < 3:
        raise InputError(f"transfer: head 'grade' needs a last map of 3 x 3 or more, got {side} x {side}; raise size")
    dense = [nn.Linear(features * (side // 3) ** 2, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)]
    return nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), *dense)


HEADS = {"low": HeadPlan(_low, 0.0, True), "best": HeadPlan(_best, 0.5, False), "grade": HeadPlan(_grade, 0.5, True)}
"""'low' and 'best' are the two models of the Xception study, 'grade' is NeuroXAI's classifier."""


def transfer(
    *,
    backbone: str = "xception",
    head: str = "low",
    classes: int = 3,
    hidden: int = 256,
    dropout: float | None = None,
    channels: int = 3,
    size: int = 224,
    frozen: bool | None = None,
    pretrained: str | None = None,
) -> nn.Module:
    """Classifier of pictures: (batch, channels, rows, columns) to logits (batch, classes), on a backbone of timm.

    `backbone` is 'xception', 'inception_v3', 'resnet50', 'densenet201', 'resnet50v2' or a timm name. `head` is 'low'
    (mean, `hidden`, classes; backbone frozen), 'best' (three linear layers with dropout; all is trained) or 'grade'
    (means of 3 x 3, `hidden`, dropout; needs `size`). `pretrained` is a local file of the backbone's weights.
    """
    if head not in HEADS:
        raise unknown("head", head, HEADS)
    for name, value in {"classes": classes, "hidden": hidden, "channels": channels, "size": size}.items():
        if value < 1:
            raise InputError(f"transfer: {name} must be at least 1, got {value}")
    plan = HEADS[head]
    body = timm_backbone(backbone, channels)
    origin = start_backbone(body, pretrained)
    features, side = _last_map(body, channels, size)
    body.requires_grad_(not (plan.frozen if frozen is None else frozen))
    top = plan.build(features, hidden, plan.dropout if dropout is None else dropout, classes, side)
    begin_as_keras(top)
    return TransferClassifier(body, top, origin)


def timm_backbone(name: str, channels: int) -> nn.Module:
    """A backbone of timm with random weights and neither pooling nor classifier."""
    try:
        import timm
    except ImportError as error:
        raise missing_extra("timm", "hub", f"backbone {name!r}") from error
    named = BACKBONES.get(name, name)
    if not timm.is_model(named):
        raise unknown("backbone", name, [*BACKBONES, *timm.list_models()])
    body: nn.Module = timm.create_model(named, pretrained=False, in_chans=channels, num_classes=0, global_pool="")
    return body


def _last_map(body: nn.Module, channels: int, size: int) -> tuple[int, int]:
    """Channels and rows of what a backbone makes of a picture of `size` pixels."""
    training = body.training
    with torch.no_grad():
        found = body.eval()(torch.zeros(1, channels, size, size))
    body.train(training)
    if found.ndim != 4:
        raise OptionError(f"transfer: backbone must end in a map of features, got {tuple(found.shape)}")
    return found.shape[1], found.shape[2]
