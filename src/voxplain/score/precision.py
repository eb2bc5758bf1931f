"""Networks in half precision: faster where a machine multiplies short numbers faster, and never what was trained."""

import torch
from torch import Tensor, nn

from voxplain.score.output import pick

SHORT = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""What a user may ask for -> torch's type."""


def deviation(one: nn.Module, other: nn.Module, x: Tensor, output: str | None, dtype: torch.dtype) -> str:
    """How far `other`, which takes batches of `dtype`, is from `one` on the first image of a batch, in words.

    Measured are the outputs, and the gradient of the largest output by the image.
    """
    left, slope = _with_slope(one, x[:1], output, x.dtype)
    right, other_slope = _with_slope(other, x[:1], output, dtype)
    of_outputs = float((left - right).abs().max() / left.abs().max())
    of_slopes = float((slope - other_slope).norm() / slope.norm())
    return (
        f"on the first image its outputs are off by up to {of_outputs:.2g} of the largest one, "
        f"and the gradient of the largest one by {of_slopes:.2g} of its length"
    )


def _with_slope(network: nn.Module, x: Tensor, output: str | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        given = pick(network(leaf.clone().to(dtype)), output).double()
        (slope,) = torch.autograd.grad(given.flatten(1).amax(dim=1).sum(), leaf)
    return given.detach(), slope.double()
