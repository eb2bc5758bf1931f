"""What the demo asks: one regression, one classification and one 3D segmentation of phantoms, and their known truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from voxplain.data.image import Image
from voxplain.data.prepare import prepare_mask
from voxplain.phantoms import Sample
from voxplain.phantoms.glioma import RIM
from voxplain.phantoms.pumpkins import ATROPHY, LESION
from voxplain.study.ready import Ready

Array = npt.NDArray[Any]

YEARS, DICE = 5.0, 0.7
"""How far off an age, and how well overlapping a rim, still counts as right."""

AIR = 0.1
"""Share of a channel's brightest value up to which a voxel is taken for air."""

GRADIENTS = "integrated_gradients(steps=16, baseline='blur')"
"""From a blurred image few steps are enough; from a black one, the maps of a U-Net hardly add up."""

HEAD = 4
"""Label of what is no tumour, beside the labels of the tumour's parts."""


@dataclass(frozen=True, eq=False)
class Task:
    """One kind of phantom, the shipped network that knows it, and what is asked about one of them."""

    name: str
    network: str
    """A name of `score.shipped`."""
    phantom: str
    """Spec of the simulation."""
    methods: tuple[str, ...]
    right: Callable[[Ready, Sample], bool]
    """Whether the network is right about a phantom."""
    means: str
    """What right means, in words."""
    truth: Callable[[Array], Array]
    """Labels of the phantom's mask (i, j, k) -> where evidence must lie."""
    place: str
    """That place in words."""
    target: str | None = None
    """What is explained; none: what the network predicts."""
    front: str = ""
    """The channel that pictures show behind the maps; left out: the first one."""
    parts: bool = False
    """Whether it finds parts: then they are given to methods as segments, and the true answer is the place's size."""
    looked_at: int = 20
    """Phantoms that the network is asked about; one of them is explained."""


def near_age(ready: Ready, sample: Sample) -> bool:
    """Whether the predicted age is near the true one."""
    return abs(ready.prediction.scores[0] - float(sample.label)) <= YEARS


def named(ready: Ready, sample: Sample) -> bool:
    """Whether the predicted class is the true one."""
    predicted = ready.prediction.predicted
    return predicted is not None and ready.prediction.class_names[predicted] == sample.label


def outlined(ready: Ready, sample: Sample) -> bool:
    """Whether the predicted rim overlaps the true one."""
    if ready.prediction.labels is None:
        return False
    found, true = ready.prediction.labels.numpy() == RIM, prepare_mask(sample.mask, ready.prepared) == RIM
    return bool(true.any() and 2 * (found & true).sum() >= DICE * (found.sum() + true.sum()))


def marks(labels: Array) -> Array:
    """Lesions, and 3 x 3 pixels around each atrophy: a pixel that was taken away is 0 and may have no evidence."""
    return np.asarray(binary_dilation(labels == ATROPHY, np.ones((3, 3, 1))) | (labels == LESION))


def tumour(labels: Array) -> Array:
    """Every label."""
    return np.asarray(labels > 0)


def rim(labels: Array) -> Array:
    """The enhancing rim."""
    return np.asarray(labels == RIM)


def body(image: Image) -> Array:
    """Voxels (i, j, k) that are brighter than air in any channel."""
    values = image.values
    return np.asarray((values > AIR * values.max(axis=(1, 2, 3), keepdims=True)).any(axis=0))


def segments(sample: Sample) -> Image:
    """The parts of a tumour and the rest of the head, as labels."""
    labels = sample.mask.values[0]
    parts = np.where((labels == 0) & body(sample.image), HEAD, labels)
    return Image.of(parts, sample.image.grid, channels=("segments",), unit="label", identifier=sample.identifier)


TASKS = (
    Task(
        "regression",
        "phantom-pumpkin-age",
        "pumpkins(uniform=False, target_bias=55.0)",
        ("lrp(rules='z_plus', bias=False)", GRADIENTS, "gradient"),
        right=near_age,
        means=f"within {YEARS:g} years",
        truth=marks,
        place="the marks of age",
    ),
    Task(
        "classification",
        "phantom-tumour-types",
        "tumours(side=128)",
        ("grad_cam", GRADIENTS, "occlusion(window=16, stride=4)"),
        right=named,
        means="the true type",
        truth=tumour,
        place="the tumour",
    ),
    Task(
        "segmentation",
        "phantom-glioma-seg",
        "glioma(size=[80, 80, 32], grade='high')",
        ("grad_cam(layer='activation_24')", GRADIENTS, "region_ablation(channels='each')"),
        right=outlined,
        means=f"a Dice of {DICE:g} or more",
        truth=rim,
        place="the enhancing rim",
        target=f"region({RIM})",
        front="t1ce",
        parts=True,
        looked_at=4,
    ),
)
"""In the order of the page."""
