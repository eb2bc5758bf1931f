"""The segmenter's final predictions: on the image's own grid, a small enhancing tumour called necrosis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from voxplain.data.case import Case
from voxplain.ops.relabel import few_relabelled
from voxplain.space.grid import Grid
from voxplain.space.resample import resample
from voxplain.study.explain import Explainer
from voxplain.training.scores import segmentation_scores

Labels = npt.NDArray[np.int64]

ENHANCING, NECROSIS = 3, 1

FEWEST_MM3 = 200.0
"""A smaller enhancing tumour is called necrosis: the source's 200 voxels of 1 mm, as a volume."""


def final_labels(labels: npt.NDArray[Any], grid: Grid, fewest_mm3: float = FEWEST_MM3) -> Labels:
    """Predicted labels (i, j, k) on `grid`, where an enhancing tumour below `fewest_mm3` becomes necrosis.

    A network that carries the source's rule has relabelled fewer than 200 voxels of its own grid before.
    """
    found = torch.from_numpy(np.rint(labels).astype(np.int64))
    fewest = round(fewest_mm3 / grid.voxel_volume)
    final: Labels = few_relabelled(found, label=ENHANCING, to=NECROSIS, fewer_than=fewest).numpy()
    return final


def final_scores(
    explainer: Explainer, cases: Sequence[Case], seed: int, fewest_mm3: float = FEWEST_MM3
) -> dict[str, Any]:
    """Dice of the final predictions of cases that have masks, as `segmentation_scores` tells it; none: nothing."""
    truths = [(case, np.rint(case.mask.values[0]).astype(np.int64)) for case in cases if case.mask is not None]
    if not truths:
        return {}
    found = (final_labels(_predicted(explainer, case), case.image.grid, fewest_mm3) for case, _ in truths)
    groups = [case.group for case, _ in truths]
    return segmentation_scores([truth for _, truth in truths], found, explainer.model.class_names[1:], groups, seed)


def _predicted(explainer: Explainer, case: Case) -> npt.NDArray[np.float32]:
    """The network's labels on the image's own grid (i, j, k), from the nearest voxel; 0 where it did not look."""
    ready = explainer.ready(case.image)
    labels = ready.prediction.labels
    values = np.zeros(ready.prepared.grid.shape) if labels is None else labels.numpy()
    laid: npt.NDArray[np.float32] = resample(
        values[None].astype(np.float32), ready.prepared.grid, case.image.grid, mode="nearest"
    )[0]
    return laid
