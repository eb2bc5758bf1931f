"""The ResNet of the myopathy study: one grey channel, a frozen backbone, and a linear head over a map of 6 x 6."""

from collections import OrderedDict

from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.score.networks_pretrained import grey_kernel, start_backbone, torchvision_model

WIDTHS = {18: 512, 50: 2048}
"""Channels of the last map by depth."""

STAGES = ("bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


class GreyResNet(nn.Module):
    """`backbone` (its parameters frozen) to a map of size / 32, then `head`: convolution 2 x 2, flatten, linear.

    No activation stands between the two layers of the head: it is linear. The convolution is the layer for CAMs.
    """

    def __init__(self, *, depth: int, classes: int, size: int, frozen: bool, pretrained: str | None) -> None:
        super().__init__()
        self.size, width, side = size, WIDTHS[depth], -(-size // 32) - 1
        self.backbone = _backbone(depth)
        self.origin = start_backbone(self.backbone, pretrained)
        self.backbone.requires_grad_(not frozen)
        head = {"conv": nn.Conv2d(width, width, 2), "flatten": nn.Flatten(), "fc": nn.Linear(width * side**2, classes)}
        self.head = nn.Sequential(OrderedDict(head))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of pictures (batch, 1, size, size)."""
        if tuple(x.shape[1:]) != (1, self.size, self.size):
            raise InputError(
                f"grey_resnet reads one channel of {self.size} x {self.size} pixels, got {tuple(x.shape[1:])}; "
                f"prepare the pictures to {self.size} pixels or build the network with size=..."
            )
        logits: Tensor = self.head(self.backbone(x))
        return logits


def _backbone(depth: int) -> nn.Sequential:
    """Torchvision's ResNet without pooling and classifier, under its own names, its first kernel summed to grey."""
    whole = torchvision_model(f"resnet{depth}", "grey_resnet")
    coloured = whole.get_submodule("conv1")
    first = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    first.weight = nn.Parameter(grey_kernel(coloured.get_parameter("weight").detach()))
    return nn.Sequential(OrderedDict(conv1=first, **{name: whole.get_submodule(name) for name in STAGES}))


def grey_resnet(
    *, depth: int = 18, classes: int = 2, size: int = 224, frozen: bool = True, pretrained: str | None = None
) -> nn.Module:
    """Classifier of grey pictures: (batch, 1, size, size) to logits (batch, classes), by ResNet-18 or -50.

    `pretrained` is a local file of the usual ImageNet weights; their three colours are summed in the first kernel.
    """
    if depth not in WIDTHS:
        raise InputError(f"grey_resnet: depth must be 18 or 50, got {depth}")
    if size < 33:
        raise InputError(f"grey_resnet: size must be at least 33 for a last map of 2 x 2, got {size}")
    if classes < 1:
        raise InputError(f"grey_resnet: classes must be at least 1, got {classes}")
    return GreyResNet(depth=depth, classes=classes, size=size, frozen=frozen, pretrained=pretrained)
