"""Eigen-CAM. Muhammad, Yeasin, IJCNN 2020, arXiv:2008.00299, section III."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from voxplain.methods.cam import GradientCam
from voxplain.score.score import Score
from voxplain.types import Quantity

BALANCED = 1e-4
"""Loadings of a unit vector that sum to less are taken to sum to zero, as they do after a norm over channels."""


@dataclass(frozen=True, kw_only=True)
class EigenCam(GradientCam):
    """What varies most over a layer's feature map, whatever the class: its activations on their first component.

    A component has no sign of its own; ours is the one whose channel loadings sum to more than zero, so that the map is
    high where the channels on the whole are. The target takes no part. Costs what Grad-CAM costs, with which it shares
    its pass.
    """

    name = "eigen_cam"
    title: ClassVar[str] = "Eigen-CAM"
    citation: ClassVar[str] = "Muhammad and Yeasin, Eigen-CAM, arXiv:2008.00299"
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "no other weights of unit length give a map of larger variance"
    cost: ClassVar[str] = "1, and the way back to the layer"

    relu: bool = False
    """Cut what lies below zero; the paper keeps it."""
    centred: bool = True
    """Take each channel's mean off first, as principal components do; false: the paper's singular vector."""

    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        columns = activation.flatten(2).double()
        if self.centred:
            columns = columns - columns.mean(dim=2, keepdim=True)
        found = torch.stack([_projected(sample) for sample in columns])
        return found.reshape(len(activation), 1, *activation.shape[2:]).to(activation.dtype)

    def _unit(self, score: Score) -> str:
        return "activations"


def _projected(columns: Tensor) -> Tensor:
    """Channels by places -> their places on the first component (place,), from the smaller of the two Gram matrices."""
    channels, places = columns.shape
    if channels <= places:
        loadings = torch.linalg.eigh(columns @ columns.T).eigenvectors[:, -1]
    else:
        loadings = columns @ torch.linalg.eigh(columns.T @ columns).eigenvectors[:, -1]
        loadings = loadings / loadings.norm().clamp_min(torch.finfo(loadings.dtype).tiny)
    found: Tensor = _sign(loadings) * (loadings @ columns)
    return found


def _sign(loadings: Tensor) -> Tensor:
    """What turns loadings so that they sum to more than zero, or, where they balance, their first largest to be."""
    total, sizes = loadings.sum(), loadings.abs()
    if total.abs() < BALANCED:
        total = loadings[sizes >= sizes.max() * (1 - BALANCED)][0]
    return total.sign()
