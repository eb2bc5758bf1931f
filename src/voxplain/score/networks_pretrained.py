"""Backbones that start from a local file of pretrained weights, and what their networks share."""

from pathlib import Path

from torch import Tensor, nn

from voxplain.errors import missing_extra
from voxplain.score.weights import Weights, load_weights

CLASSIFIERS = ("fc.", "classifier.", "head.", "last_linear.", "AuxLogits.")
"""How the names of parts begin that a backbone leaves out: what decided about the classes of the pretraining."""

UNTRAINED = "no pretrained=FILE was given, so the backbone starts from random weights"
"""What a network with a backbone says about its origin when it has none."""


def start_backbone(backbone: nn.Module, pretrained: str | None) -> str:
    """Put the weights of a local file into a backbone and say where they come from.

    Classifiers in the file that the backbone lacks are left out; a first kernel for three colours is summed for a
    backbone of one channel. Raises `FileError` for an unreadable file, `TrustError` for one that would run code,
    `InputError` where it does not fit.
    """
    if pretrained is None:
        return UNTRAINED
    wanted = backbone.state_dict()

    def adapt(weights: Weights) -> Weights:
        kept = {name: tensor for name, tensor in weights.items() if name in wanted or not name.startswith(CLASSIFIERS)}
        return {name: _as_grey(tensor, wanted[name]) if name in wanted else tensor for name, tensor in kept.items()}

    told = load_weights(backbone, Path(pretrained), adapt=adapt)
    return "; ".join([f"the backbone starts from {Path(pretrained).name!r} and the head from random weights", *told])


def _as_grey(kernel: Tensor, wanted: Tensor) -> Tensor:
    """A kernel of three channels for one that wants one; any other tensor as it is."""
    coloured = kernel.ndim == wanted.ndim == 4 and kernel.shape[1] == 3 and wanted.shape[1] == 1
    return grey_kernel(kernel) if coloured and kernel.shape[0] == wanted.shape[0] else kernel


def grey_kernel(kernel: Tensor) -> Tensor:
    """The sum over the three colours of a kernel (out, 3, rows, columns): what it says to a grey picture."""
    return kernel.sum(dim=1, keepdim=True)


def torchvision_model(name: str, purpose: str) -> nn.Module:
    """A network of torchvision with random weights; raises `MissingExtra` without the package."""
    try:
        from torchvision import models
    except ImportError as error:
        raise missing_extra("torchvision", "hub", purpose) from error
    module: nn.Module = models.get_model(name, weights=None)
    return module


def begin_as_keras(*parts: nn.Module) -> None:
    """Give the convolutions and linear layers in these parts Glorot's uniform weights, and biases of 0."""
    for part in (inner for outer in parts for inner in outer.modules()):
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
