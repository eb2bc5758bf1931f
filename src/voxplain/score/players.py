"""Scores of images in which only some players are present: segments, channels or regions, the others covered."""

import torch
from torch import Tensor

from voxplain.score.score import Score


def coalition_scores(
    score: Score, image: Tensor, cover: Tensor, labels: Tensor, presence: Tensor, row: int, *, every: bool = True
) -> Tensor:
    """Scores (n, class), or (n,) unless `every`, of one `image` (channel, *space) with some players under `cover`.

    `labels` gives the player of each voxel, in any shape that broadcasts to the image's; `presence` (n, player) says
    who is left uncovered; `row` is the image's place in the batch that froze the score.
    """
    labels, presence = labels.to(image.device), presence.to(image.device)

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        present = presence[index.to(image.device)][:, labels]
        return torch.where(present, image, cover), torch.full_like(index, row)

    pieces = score.stream(len(presence), make, like=image[None], every=every)
    return torch.cat([piece.values for piece in pieces])
