"""What an eye would see of a figure: its words, its pictures, and where in a picture the colour is."""

import numpy as np

from tests.report.made import LPS, PIXELS, attribution, picture, volume  # noqa: F401
from voxplain.report.figures_view import Shown
from voxplain.types import Quantity

BAR_STEPS = 256


def words(figure) -> str:
    """Everything written on a figure, with single spaces."""
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    return " ".join(" ".join([*(text.get_text() for text in figure.texts), *inside]).split())


def pictures(figure) -> list:
    """The axes that hold pictures and no colour bars, in the order of drawing."""
    return [axes for axes in figure.axes if axes.images and BAR_STEPS not in axes.images[0].get_array().shape[:2]]


def pixels(axes) -> np.ndarray:
    """The pixels (rows, columns, 3) of a picture."""
    return np.asarray(axes.images[0].get_array())


def colourful(array: np.ndarray) -> np.ndarray:
    """How far pixels are from grey."""
    return array[..., :3].max(axis=-1) - array[..., :3].min(axis=-1)


def rendered_place(figure, axes) -> tuple[float, float]:
    """Where on the finished figure a picture is most colourful: shares of its width and height from the top left."""
    figure.canvas.draw()
    seen = np.asarray(figure.canvas.buffer_rgba())[::-1].astype(float)
    box = axes.bbox
    part = seen[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)]
    colour = colourful(part)
    rows, columns = np.nonzero(colour >= 0.9 * colour.max())
    return (columns.mean() + 0.5) / part.shape[1], 1 - (rows.mean() + 0.5) / part.shape[0]


def spot(image, voxel: tuple[int, int, int], height: float = 1.0) -> np.ndarray:
    """A map that is 0 but for one voxel."""
    values = np.zeros(image.grid.shape, np.float32)
    values[voxel] = height
    return values


def shown(values: np.ndarray, name: str = "gradient", quantity: Quantity = Quantity.RELEVANCE, **named) -> Shown:
    """One map."""
    return Shown(name, values, quantity, named.pop("unit", "logits"), **named)
