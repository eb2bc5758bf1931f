"""Draws docs/images/phantoms.png, the sheet of all phantoms; `--beside DATA --out FILE` lays real images under them."""

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image as Pillow

from voxplain.data.image import Image
from voxplain.data.load import load_image, load_mask
from voxplain.data.writing import written_beside
from voxplain.phantoms import Sample, phantom
from voxplain.phantoms.plant import Plant, planted
from voxplain.report.figures import PLAIN, png
from voxplain.report.figures_labels import LABELS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "phantoms.png"

ACROSS, WIDE, HIGH, DPI = 5, 1.6, 1.75, 100
"""Pictures in a row, inches of each with its words, and dots per inch."""

GREYS = 64
"""Shades in the written picture, besides the colours of outlines."""

SEARCHED = 200
"""Samples looked through for one of the kind that is shown."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of the sheet."""

    title: str
    image: Image
    mask: Image | None = None
    """Outlined; its plane with most of it is shown."""
    channel: int = 0
    place: Image | None = None
    """A mask that only says which plane to show."""


def main(arguments: list[str]) -> int:
    """Draw the sheet; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, metavar="DATA", help="folder of real images to lay under the phantoms")
    parser.add_argument("--out", type=Path, default=PAGE, help="the picture (default: that of the documentation)")
    chosen = parser.parse_args(arguments)
    if chosen.beside and chosen.out == PAGE:
        parser.error("--beside needs --out: real images do not go into the documentation")
    rows = [*made()]
    if chosen.beside:
        real = {place: row for place, row in enumerate(found(chosen.beside)) if row}
        rows = [row for place, own in enumerate(rows) for row in (own, real.get(place)) if row]
    with style.context(PLAIN):
        drawn = Pillow.open(io.BytesIO(png(sheet(rows)))).convert("RGB")
    with written_beside(chosen.out) as beside:
        # Noise does not compress; a small palette halves the file.
        drawn.quantize(palette=palette(), dither=Pillow.Dither.NONE).save(beside, format="png", optimize=True)
    print(chosen.out)
    return 0


def palette() -> Pillow.Image:
    """Greys, and the outlines' colours as they are and mixed with dark, middle and bright grey at their soft edges."""
    # Pillow matches the upper six bits of a colour: nothing near white may take its place.
    greys = np.array([*np.linspace(0, 245, GREYS - 1), 255])[:, None].repeat(3, axis=1)
    pure = np.array([to_rgb(colour) for colour in LABELS[:3]]) * 255
    mixed = [share * pure + (1 - share) * grey for share in (0.4, 0.7) for grey in (0, 110, 230)]
    held = Pillow.new("P", (1, 1))
    held.putpalette(np.concatenate([greys, pure, *mixed]).round().astype(np.uint8).tobytes())
    return held


def made() -> Iterator[list[Tile]]:
    """The phantoms, a row each."""
    yield list(pumpkins())
    glioma = first("glioma(size=[144, 144, 96])", partial(labelled, "HGG"))
    names = ("FLAIR", "T1", "T1ce", "T2")
    yield [
        *(Tile(f"glioma (HGG), {name}", glioma.image, channel=n, place=glioma.mask) for n, name in enumerate(names)),
        Tile("labels", glioma.image, glioma.mask),
    ]
    seen = (("glioma", "axial"), ("meningioma", "coronal"), ("pituitary", "sagittal"), ("pituitary", "coronal"))
    yield [tumour(*kind) for kind in (*seen, ("glioma", "sagittal"))]
    yield list(muscles())
    yield list(films())
    yield list(signals())


def pumpkins() -> Iterator[Tile]:
    """An old and a middle-aged one as people age, and the other ways to grow."""
    old = first("pumpkins()", lambda sample: int(sample.label) > 72)
    young = first("pumpkins()", lambda sample: 50 < int(sample.label) < 62)
    yield from (Tile(f"pumpkin, {one.label} years", one.image) for one in (old, young))
    for mode in ("eternal", "tang_ping", "no_growth"):
        one = first(f"pumpkins(growth_mode='{mode}')", lambda sample: 50 < int(sample.label) < 62)
        yield Tile(f"{mode}, {one.label} years", one.image)


def tumour(label: str, plane: str) -> Tile:
    """A slice of this kind with its tumour outlined."""
    one = first("tumours()", lambda sample: sample.label == label and sample.truth["plane"] == plane)
    return Tile(f"{label}, {plane}", one.image, one.mask)


def muscles() -> Iterator[Tile]:
    """Healthy and affected legs, lightly and heavily."""
    kinds = (("healthy", 0.5, 1), ("healthy", 0.5, 2), ("affected", 0.25, 1), ("affected", 0.6, 2))
    for label, severity, seed in kinds:
        one = first(f"muscle(severity={severity})", partial(labelled, label), seed)
        yield Tile(f"thigh, {label}" + (f", grade {one.truth['grade']}" if label == "affected" else ""), one.image)
    yield Tile("both legs", first("muscle(legs='both')", partial(labelled, "affected")).image)


def labelled(label: str, sample: Sample) -> bool:
    """Whether the sample is of this class."""
    return sample.label == label


def films() -> Iterator[Tile]:
    """Chest films, and what can be planted."""
    front = first("chest(marker=[1.0, 0.0])", partial(labelled, "pa"))
    side = first("chest()", partial(labelled, "lateral"))
    yield Tile("chest, PA with marker", front.image, front.mask)
    yield Tile("chest, lateral", side.image, side.mask)
    head = first("tumours()", lambda sample: sample.label == "pituitary" and sample.truth["plane"] == "coronal", 2)
    causes = (
        Plant(kind="lesion", radius=0.12),
        Plant(kind="blur", strength=0.3, radius=0.12),
        Plant(kind="bias_field"),
    )
    for cause, image in zip(causes, (head.image, side.image, head.image), strict=True):
        changed, mask = planted(image, cause, np.random.default_rng(3))
        yield Tile(f"planted {cause.kind.replace('_', ' ')}", changed, None if cause.kind == "bias_field" else mask)


def signals() -> Iterator[Tile]:
    """A head of each kind with its feature outlined, in the sequence that shows it."""
    for kind in ("focal", "diffuse", "sequence", "suppressor", "shortcut"):
        one = first(f"signals(kind='{kind}')", partial(labelled, "with"), 4)
        yield Tile(f"signals, {kind}", one.image, one.mask, channel=len(one.image.channels) - 1)


def first(spec: str, wanted: Callable[[Sample], bool], seed: int = 1) -> Sample:
    """The first sample of a phantom that is as `wanted`."""
    simulation = phantom(spec)
    for number in range(SEARCHED):
        sample = simulation.sample(number, seed)
        if wanted(sample):
            return sample
    raise LookupError(f"no such sample among {SEARCHED} of {spec}")


def found(data: Path) -> Iterator[list[Tile]]:
    """Real images of the same kinds, a row each; none where there are none."""
    yield []
    case = data / "mri-3d" / "brain-tumor-progression" / "PGBM-002_post"
    names = ("flair", "t1", "t1ce", "t2")
    images = [load_image(case / f"{name}.nii.gz") for name in names]
    masks = [load_mask(case / "seg.nii.gz", like=image) for image in images]
    rows = zip(names, images, masks, strict=True)
    yield [
        *(Tile(f"real glioma, {name}", image, place=mask) for name, image, mask in rows),
        Tile("labels", images[0], masks[0]),
    ]
    folder = data / "brain-tumor-2d"
    kinds = ("glioma axial", "meningioma coronal", "pituitary sagittal", "pituitary coronal", "glioma sagittal")
    yield [real_tumour(folder, *kind.split()) for kind in kinds]
    yield []
    folder = data / "cxr-views"
    table = list(csv.DictReader((folder / "labels.csv").read_text(encoding="utf-8").splitlines()))
    films = [row for row in table if row["view"] == "PA"][:3] + [row for row in table if row["view"] == "AP"][:2]
    yield [Tile(f"real {row['view']}, {row['site']}", load_image(folder / row["file"])) for row in films]


def real_tumour(folder: Path, label: str, plane: str) -> Tile:
    """The middle one of the slices of this kind."""
    table = list(csv.DictReader((folder / "labels.csv").read_text(encoding="utf-8").splitlines()))
    rows = [row for row in table if (row["label"], row["plane"]) == (label, plane)]
    row = rows[len(rows) // 2]
    image = load_image(folder / row["file"])
    return Tile(f"real {label}, {plane}", image, load_mask(folder / row["mask"], like=image))


def sheet(rows: list[list[Tile]]) -> Figure:
    """All tiles, a row each."""
    figure = Figure(figsize=(ACROSS * WIDE, len(rows) * HIGH), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for line, row in zip(figure.subplots(len(rows), ACROSS, squeeze=False), rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, tile in zip(line, row, strict=False):
            draw(axes, tile)
    return figure


def draw(axes: Axes, tile: Tile) -> None:
    """The plane with most of the mask, anterior up and the patient's right on the left, the mask's labels outlined."""
    chosen = tile.mask or tile.place
    labels = np.zeros(tile.image.grid.shape) if chosen is None else chosen.values[0]
    sizes = (labels > 0).sum(axis=(0, 1))
    plane = int(sizes.argmax()) if sizes.any() else labels.shape[2] // 2
    pixels = turned(tile.image, tile.image.values[tile.channel, :, :, plane])
    low, high = np.percentile(pixels, (0.5, 99.8))
    aspect = tile.image.grid.spacing[1] / tile.image.grid.spacing[0]
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest", aspect=aspect)
    axes.set_title(tile.title, fontsize=7)
    if tile.mask is None:
        return
    outlined = turned(tile.image, labels[:, :, plane])
    for label in np.unique(outlined[outlined > 0]).astype(int):
        inside = (outlined == label).astype(float)
        axes.contour(inside, levels=[0.5], colors=LABELS[(label - 1) % len(LABELS)], linewidths=0.8)


def turned(image: Image, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows and columns as a radiologist sees them."""
    across, down, _ = tuple(image.grid.orientation)
    return plane.T[:: -1 if down in "AS" else 1, :: -1 if across == "R" else 1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
