"""Times every kind of figure of a volume at the size of a BraTS scan, 4 x 240 x 240 x 155.

    python -m bench.figures                        every kind that one segmented volume has
    python -m bench.figures --kinds montage flow   some
    python -m bench.figures --keep FOLDER          the run folder and the pictures stay

Drawing goes from voxels in memory to the bytes of the PNG; reading is what unpacking the run folder's volumes adds.
Both are seconds of processor time of one thread; drawing is the smaller of two runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from voxplain.data import nifti
from voxplain.data.attribution import Attribution, Coarse
from voxplain.data.image import Image
from voxplain.report import figures
from voxplain.report.figure_kinds import KINDS, draw_kind
from voxplain.space.grid import Grid
from voxplain.space.resample import resample
from voxplain.study.run_folder import RunFolder, case_facts
from voxplain.types import Quantity

SHAPE = (240, 240, 155)
SEQUENCES = ("flair", "t1", "t1ce", "t2")
CLASSES = ("background", "necrosis", "oedema", "enhancing rim")
CELLS = {"conv3d": 120, "conv3d_2": 60, "conv3d_4": 30, "conv3d_6": 15}
"""How many cells the map of each layer has across."""

ASKED: dict[str, dict[str, Any]] = {
    "planes": {}, "overlay": {}, "montage": {}, "methods": {}, "single": {},
    "modalities": {"method": "input_x_gradient"}, "matrix": {}, "layer-matrix": {"method": "grad_cam"},
    "layers": {"method": "grad_cam"}, "flow": {"method": "grad_cam"}, "error": {"method": "smoothgrad"},
    "agreement": {},
}  # fmt: skip
"""The kinds that are drawn, and what they are asked for."""


def main(arguments: Sequence[str]) -> int:
    """Make the run folder, draw it, print a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=ASKED, default=list(ASKED))
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        home = options.keep or Path(temporary)
        if not (home / "run").exists():
            write_run(home / "run")
        print("| kind | drawing, s | reading, s |\n|---|---|---|", flush=True)
        for kind in options.kinds:
            print(told(home, kind), flush=True)
    return 0


def told(home: Path, kind: str) -> str:
    """The line of a kind; its picture stays beside the run folder."""
    with patch.object(nifti, "_voxels", cache(nifti._voxels)):  # noqa: SLF001 - the one place where files are unpacked
        whole = seconds(home, kind)
        drawing = min(seconds(home, kind) for _ in range(2))
    return f"| `{kind}` | {drawing:.2f} | {max(whole - drawing, 0):.2f} |"


def seconds(home: Path, kind: str) -> float:
    """Processor time of a figure from the run folder to its file."""
    begun = time.process_time()
    figures.save(draw_kind(home / "run", kind, **ASKED[kind]), home / f"{kind}.png")
    return time.process_time() - begun


def write_run(path: Path) -> None:
    """A run folder of one head with a tumour, as a segmenter's run would leave it."""
    plan = {"model": {"source": "synthetic"}, "methods": list(KINDS)}
    folder = RunFolder.at(path, plan)
    folder.begin(plan)
    image, labels = _head()
    said = {"kind": "segmentation", "class_names": list(CLASSES), "scores": [8e6, 1e3, 2e4, 5e3], "words": "oedema"}
    folder.write_case("scan", case_facts("scan", image, said, {"label": "HGG"}), image, labels, labels)
    rows = []
    for one in _maps(image, labels):
        place = folder.write_map("scan", "synthetic", one)
        row = {"case": "scan", "model": "synthetic", "target": one.target, "method": one.method, "layer": one.layer}
        rows.append({**row, "map": place, "status": "done", "error": None})
    folder.write_rows(rows)


def _head() -> tuple[Image, Image]:
    """Four sequences of tissue in air that is 0, and the labels of a tumour of three parts."""
    draws, grid = np.random.default_rng(0), Grid(SHAPE, np.diag([-1.0, -1.0, 1.0, 1.0]))
    places = [np.linspace(-1, 1, count, dtype=np.float32).reshape(_along(axis)) for axis, count in enumerate(SHAPE)]
    inside = sum((place / 0.8) ** 2 for place in places) < 1
    apart = np.sqrt(sum((place - middle) ** 2 for place, middle in zip(places, (0.25, -0.2, 0.1), strict=True)))
    labels = np.select([apart < 0.08, apart < 0.13, apart < 0.3], [1, 3, 2], 0).astype(np.float32)
    texture = draws.normal(100, 8, (4, *SHAPE)).astype(np.float32)
    values = inside * (texture + np.float32(30) * np.stack([np.isin(labels, one) for one in ([1, 2], 1, 3, [2, 3])]))
    image = Image.of(values, grid, channels=SEQUENCES, identifier="scan")
    return image, Image.of(labels, grid, identifier="scan")


def _along(axis: int) -> tuple[int, ...]:
    return tuple(-1 if one == axis else 1 for one in range(3))


def _maps(image: Image, labels: Image) -> list[Attribution]:
    """Fine maps of one and of four channels, one with its error, and coarse ones of several layers."""
    draws, lump = np.random.default_rng(1), (labels.values[0] > 0).astype(np.float32)
    body = (image.values[0] != 0).astype(np.float32)

    def noisy() -> Any:
        return (lump + 0.2 * body) * draws.normal(0.3, 1, SHAPE).astype(np.float32)

    def made(values: Any, quantity: Quantity, method: str, **named: Any) -> Attribution:
        words = {"target_words": "mean logit of class 2 (oedema)", "unit": "logits", **named}
        return Attribution(values, image.grid, quantity, method, "region(2)", **words)

    fine = [
        made(noisy()[None], Quantity.SCORE_UNITS, "integrated_gradients"),
        made(noisy()[None], Quantity.RELEVANCE, "guided_backprop"),
        made(np.stack([noisy() for _ in SEQUENCES]), Quantity.SCORE_UNITS, "input_x_gradient", channels=SEQUENCES),
        made(noisy()[None], Quantity.RELEVANCE, "smoothgrad", standard_error=np.abs(noisy()[None]) / 4),
    ]
    return [*fine, *(_cam(image.grid, lump, layer, across, made) for layer, across in CELLS.items())]


def _cam(grid: Grid, lump: Any, layer: str, across: int, made: Any) -> Attribution:
    """A map of so many cells across, and what it becomes on the image's grid."""
    cells = grid.resized((across, across, max(1, across * SHAPE[2] // SHAPE[0])))
    coarse = resample(lump[None], grid, cells).astype(np.float32)
    fine = resample(coarse, cells, grid).astype(np.float32)
    method = f"grad_cam(layer='{layer}')"
    return made(fine, Quantity.SALIENCY, method, layer=layer, coarse=Coarse(coarse, cells))  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
