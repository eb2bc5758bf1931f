"""The strongest voxels of a map: which they are where some tie, and how far two maps agree on them."""

from jaxtyping import Float
from torch import Tensor


def among_top(values: Float[Tensor, "*space"], share: float) -> Float[Tensor, "*space"]:
    """The chance of each voxel to be among the top share (at least one voxel), float64; voxels that tie share it."""
    count = top_count(values.numel(), share)
    border = values.flatten().topk(count).values[-1]
    above, tied = values > border, values == border
    return above.double() + tied.double() * ((count - above.sum()) / tied.sum())


def top_overlap(a: Float[Tensor, "*space"], b: Float[Tensor, "*space"], share: float) -> float:
    """The share of the top voxels that two maps have in common, 0 to 1; of voxels that tie each is taken by chance."""
    both = among_top(a, share) * among_top(b, share)
    return float(both.sum() / top_count(a.numel(), share))


def top_count(voxels: int, share: float) -> int:
    """How many voxels the top share has."""
    return max(1, round(share * voxels))
