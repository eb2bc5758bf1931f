"""Times the page of a large run: 50 cases by 12 methods of 224 x 224 pixels or 64 x 64 x 64 voxels.

    python -m bench.report                      both sizes, in a temporary folder
    python -m bench.report --cases 8 --keep DIR fewer cases, and the run folders stay

Promised are a page in 60 s and below 60 MB on two cores, and 3 s until Chromium has it ready for a reader.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.report.browser import NAMES, Browser
from voxplain.data.attribution import Attribution, Coarse
from voxplain.data.certificate import Certificate, Check
from voxplain.data.image import Image
from voxplain.data.provenance import Provenance
from voxplain.space.grid import Grid
from voxplain.study.run_folder import RunFolder, case_facts
from voxplain.types import Quantity

SIZES = {"224": (224, 224, 1), "64^3": (64, 64, 64)}
CLASSES = ("healthy", "benign", "malignant")
METHODS = (
    ("grad_cam", Quantity.SALIENCY, 14), ("layer_cam", Quantity.SALIENCY, 28), ("score_cam", Quantity.SALIENCY, 14),
    ("rise", Quantity.SALIENCY, 8), ("gradient", Quantity.RELEVANCE, 0), ("smoothgrad", Quantity.RELEVANCE, 0),
    ("guided_backprop", Quantity.RELEVANCE, 0), ("lrp", Quantity.SCORE_UNITS, 0),
    ("deep_lift", Quantity.SCORE_UNITS, 0),
    ("integrated_gradients", Quantity.SCORE_UNITS, 0), ("occlusion", Quantity.SCORE_UNITS, 14),
    ("kernel_shap", Quantity.SCORE_UNITS, 20),
)  # fmt: skip
"""Name, quantity, and how many cells a map has across, 0 where it is as fine as the image."""

WRITE = """
import sys, voxplain.report.page as page
page.write(sys.argv[1])
"""


def main(arguments: Sequence[str]) -> int:
    """Make the run folders, write their pages, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the run folders stay; made anew where missing")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            folder = (options.keep or Path(temporary)) / f"run-{size.replace('^', '_')}-{options.cases}"
            if not folder.exists():
                write_run(folder, SIZES[size], options.cases)
            print(told(size, options.cases, folder), flush=True)
    return 0


def told(size: str, cases: int, folder: Path) -> str:
    """What the page of a run folder took, in a line."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", WRITE, str(folder)], check=True)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    page = folder / "report" / "index.html"
    ready = seconds_to_ready(page)
    shown = "no Chromium here" if ready is None else f"ready in Chromium after {ready:.1f} s"
    took = f"{seconds:.1f} s ({busy:.1f} s of processor time)"
    return f"{cases} cases x {len(METHODS)} maps of {size}: {took}, {page.stat().st_size / 1e6:.1f} MB, {shown}"


def seconds_to_ready(page: Path) -> float | None:
    """Seconds until the page is read, laid out and answers a script, as a reader would wait; None without Chromium."""
    if not any(map(shutil.which, NAMES)):
        return None
    with tempfile.TemporaryDirectory() as home:
        browser = Browser(Path(home))
        begin = time.perf_counter()
        browser.open(page.resolve().as_uri())
        browser.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        seconds = time.perf_counter() - begin
        browser.close()
    return seconds


def write_run(path: Path, shape: tuple[int, int, int], cases: int) -> None:
    """A run folder as a run would leave it, with images of tissue and maps of lumps and noise."""
    plan = {"model": {"source": "synthetic"}, "methods": [name for name, *_ in METHODS]}
    folder = RunFolder.at(path, plan)
    folder.begin(plan)
    rows = []
    for number in range(cases):
        draws = np.random.default_rng(number)
        case = f"case-{number:03d}"
        image, mask, lump = _image(case, shape, draws)
        folder.write_case(
            case, case_facts(case, image, _prediction(draws), {"label": CLASSES[number % 3]}), image, mask, None
        )
        for place, (name, quantity, cells) in enumerate(METHODS):
            found = _map(image, lump, name, quantity, cells, draws, failed=place == number % 40)
            where = folder.write_map(case, "synthetic", found)
            row = {"case": case, "model": "synthetic", "target": found.target, "method": name, "map": where}
            rows.append({**row, "status": "done", "error": None, "share_in_mask": 0.3, "mask_share": 0.05})
    folder.write_rows(rows)


def _image(case: str, shape: tuple[int, int, int], draws: np.random.Generator) -> tuple[Image, Image, Any]:
    """Tissue with texture in a round body, the mask of a lesion, and the lesion's lump."""
    centre = [draws.uniform(0.35, 0.65) * count if count > 1 else 0 for count in shape]
    places = np.indices(shape)
    apart = sum(((axis - middle) / count) ** 2 for axis, middle, count in zip(places, centre, shape, strict=True))
    body = sum(((axis - count / 2) / count) ** 2 for axis, count in zip(places, shape, strict=True) if count > 1) < 0.2
    lump = np.exp(-apart / 0.005)
    values = body * (80 + 20 * np.sin(places[0] / 5) * np.cos(places[1] / 7) + draws.normal(0, 6, shape) + 60 * lump)
    grid = Grid(shape, np.diag([-1.0, -1.0, 1.5, 1.0]), "mm" if shape[2] > 1 else "px")
    image = Image.of(values, grid, identifier=case)
    return image, Image.of(lump > 0.5, grid, identifier=case), lump


def _prediction(draws: np.random.Generator) -> dict[str, Any]:
    chances = draws.dirichlet((1, 1, 2))
    best = int(chances.argmax())
    return {
        "kind": "classification",
        "class_names": list(CLASSES),
        "probabilities": chances.tolist(),
        "predicted": best,
        "words": f"{CLASSES[best]} ({chances[best]:.2f})",
    }


def _map(
    image: Image, lump: Any, name: str, quantity: Quantity, cells: int, draws: np.random.Generator, *, failed: bool
) -> Attribution:
    """A map of the lump, coarse where it has cells, else with a fine grain."""
    grid, coarse = image.grid, None
    values = lump * draws.uniform(0.2, 2)
    if cells:
        steps = [max(1, count // cells) for count in grid.shape]
        small = values[tuple(slice(step // 2, None, step) for step in steps)].astype(np.float32)
        coarse = Coarse(small[None], grid.resized(small.shape))
        large = np.kron(small, np.ones(steps))
        values = np.pad(large, [(0, max(0, n - m)) for n, m in zip(grid.shape, large.shape, strict=True)], mode="edge")
        values = values[tuple(slice(0, count) for count in grid.shape)]
    else:
        values = values * draws.normal(0.3, 1, grid.shape)
    check = (
        Check("completeness", "failed", "the sum misses the score by 40 %")
        if failed
        else Check("finite", "passed", "ok")
    )
    return Attribution(
        values[None].astype(np.float32), grid, quantity, name, "class_score(1)", "score of class 1 (benign)", "logits",
        coarse=coarse, certificate=Certificate((check,)),
        provenance=Provenance({"method": name, "seed": 0, "weights": "ab" * 32}, {"seconds": 1.0, "forwards": 8}),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
