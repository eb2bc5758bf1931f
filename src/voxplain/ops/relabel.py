"""What is done to a predicted label map after the network: small finds of one label become another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from voxplain.errors import OptionError


def few_relabelled(labels: Tensor, *, label: int, to: int, fewer_than: int) -> Tensor:
    """Labels (*space) of one case; where fewer than `fewer_than` voxels carry `label`, these carry `to` instead.

    NeuroXAI calls an enhancing tumour of fewer than 200 voxels necrosis. Returns a new tensor.
    """
    found = labels == label
    if int(found.sum()) >= fewer_than:
        return labels.clone()
    return torch.where(found, torch.as_tensor(to, dtype=labels.dtype, device=labels.device), labels)


@dataclass(frozen=True, kw_only=True)
class FewRelabelled:
    """`few_relabelled` with its options, as a network carries it in its `postprocess`."""

    label: int
    """Label that is doubted where it is rare."""
    to: int
    """Label that its voxels get."""
    fewer_than: int
    """Voxels that are enough to leave it."""

    def __post_init__(self) -> None:
        if min(self.label, self.to, self.fewer_than) < 0:
            raise OptionError(f"relabel: label, to and fewer_than must be 0 or more, got {self!r}")

    def __call__(self, labels: Tensor) -> Tensor:
        """Labels (*space) of one case, relabelled."""
        return few_relabelled(labels, label=self.label, to=self.to, fewer_than=self.fewer_than)

    @property
    def words(self) -> str:
        """What it does, as a sentence."""
        return f"fewer than {self.fewer_than} voxels of label {self.label} are given label {self.to}"
