"""What a segmentation model predicted, as pictures: its labels alone, and over the image."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

from voxplain.data.image import Image
from voxplain.report.figures_board import Cell
from voxplain.report.figures_view import on_grid
from voxplain.report.sheet import Ground

LABELS = ("#49c3f4", "#f6ea52", "#ed0215", "#438e68", "#aa3ad1")
"""Colours of the labels 1, 2 ...; distinct on grey, with colour-blind eyes as well."""

COLOUR_WORDS = ("blue", "yellow", "red", "green", "violet")

TINT = 0.3
"""Opacity of the labels over the image, as in the source study."""


def prediction_cells(on: Ground, image: Image, prediction: npt.ArrayLike, name: str = "prediction") -> list[Cell]:
    """Two pictures of predicted labels (i, j, k): alone on black, and tinted over the image."""
    labels = np.asarray(on.cut.take(on_grid(prediction, image, "prediction"))).astype(np.int64)
    grey = on.panel.pixels[..., 0]
    alone = np.zeros((*grey.shape, 3), dtype=np.float32)
    over = np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)
    for label in np.unique(labels[labels > 0]):
        colour = np.array(to_rgb(LABELS[(label - 1) % len(LABELS)]), dtype=np.float32)
        alone[labels == label] = colour
        over[labels == label] = (1 - TINT) * over[labels == label] + TINT * colour
    bare = replace(on.panel, letters=("", "", "", ""), ruler="", cross=None)
    count = int((labels > 0).sum())
    told = (f"{count} of {labels.size} pixels here",) if count else ("nothing predicted on this slice",)
    return [
        Cell(replace(bare, name=name, pixels=alone), told),
        Cell(replace(bare, name=f"{name} over image", pixels=over)),
    ]


def label_words(prediction: npt.ArrayLike, class_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Which colour stands for which label of a prediction (i, j, k), in a sentence."""
    labels = [int(label) for label in np.unique(np.asarray(prediction)) if label > 0]
    names = [class_names[label] if label < len(class_names) else f"label {label}" for label in labels]
    told = [f"{name} {COLOUR_WORDS[(label - 1) % len(LABELS)]}" for label, name in zip(labels, names, strict=True)]
    return (f"Prediction: {', '.join(told)}.",) if told else ("Nothing was predicted.",)
