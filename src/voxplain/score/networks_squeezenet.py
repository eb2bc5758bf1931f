"""The SqueezeNet of the chest-view study: its global pooling replaced by one linear layer over the whole class map."""

from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.score.networks_pretrained import start_backbone, torchvision_model

FIRST_KERNEL = {"1_0": 7, "1_1": 3}
"""Width of the first convolution, by version."""

CLASS_MAP = 1000
"""Channels of the last convolution: the classes of ImageNet, which stay."""


class SqueezeNetViews(nn.Module):
    """`backbone` (SqueezeNet up to the ReLU after its last convolution), then `head`: flatten and one linear layer.

    The source trains the new head with ten times the learning rate. The last ReLU is the layer for CAMs.
    """

    def __init__(self, *, classes: int, version: str, size: int, pretrained: str | None) -> None:
        super().__init__()
        self.size = size
        self.backbone = nn.Sequential()
        whole = torchvision_model(f"squeezenet{version}", "squeezenet_views")
        self.backbone.add_module("features", whole.get_submodule("features"))
        class_map = [whole.get_submodule(f"classifier.{number}") for number in range(3)]  # dropout, convolution, ReLU
        self.backbone.add_module("classifier", nn.Sequential(*class_map))
        self.origin = start_backbone(self.backbone, pretrained)
        side = map_side(size, FIRST_KERNEL[version])
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(CLASS_MAP * side**2, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of pictures (batch, 3, size, size)."""
        if tuple(x.shape[1:]) != (3, self.size, self.size):
            raise InputError(
                f"squeezenet_views reads three channels of {self.size} x {self.size} pixels, got {tuple(x.shape[1:])}; "
                f"prepare the pictures to {self.size} pixels or build the network with size=..."
            )
        logits: Tensor = self.head(self.backbone(x))
        return logits


def map_side(size: int, kernel: int) -> int:
    """Rows of the class map: one convolution of stride 2, then three poolings of 3 at stride 2 that round up."""
    side = (size - kernel) // 2 + 1
    for _ in range(3):
        side = -(-(side - 3) // 2) + 1
    return side


def squeezenet_views(
    *, classes: int = 2, version: str = "1_1", size: int = 227, pretrained: str | None = None
) -> nn.Module:
    """Classifier of pictures: (batch, 3, size, size) to logits (batch, classes), by SqueezeNet 1.0 or 1.1.

    `pretrained` is a local file of its ImageNet weights, whose last convolution stays in front of the new head.
    """
    if version not in FIRST_KERNEL:
        raise InputError(f"squeezenet_views: version must be '1_0' or '1_1', got {version!r}")
    if size < 33:
        raise InputError(f"squeezenet_views: size must be at least 33, got {size}")
    if classes < 1:
        raise InputError(f"squeezenet_views: classes must be at least 1, got {classes}")
    return SqueezeNetViews(classes=classes, version=version, size=size, pretrained=pretrained)
