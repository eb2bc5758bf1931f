"""Run folders for feedback forms: films and volumes whose names, labels and methods must stay out of the form."""

from dataclasses import replace
from pathlib import Path

from tests.report.made import RunMaker, attribution, blob, picture, volume
from voxplain.types import Quantity

METHODS = {
    "occlusion(window=4)": Quantity.SCORE_UNITS,
    "score_cam": Quantity.SALIENCY,
    "guided_backprop": Quantity.RELEVANCE,
}


def films(folder: Path, cases: int = 2, **facts) -> Path:
    """2D cases smith-1 ... of one patient, with three methods each; the lump lies elsewhere in every map."""
    run = RunMaker(folder)
    for number in range(1, cases + 1):
        image = picture(identifier=f"smith-{number}")
        run.case(image, f"smith-{number}", **facts)
        _maps(run, image, (8 * number, 12, 0))
    return folder


def scans(folder: Path, cases: int = 1, **facts) -> Path:
    """Volumes whose lumps lie in slice 11 of 16, with a mask that is largest in slice 5 and still there in slice 11."""
    run = RunMaker(folder)
    for number in range(1, cases + 1):
        image = volume(identifier=f"smith-{number}")
        mask = replace(image.with_values((blob(image.grid.shape, (10, 12, 5), 6) > 0.5)[None]), channels=("mask",))
        run.case(image, f"smith-{number}", mask, **facts)
        _maps(run, image, (12, 8, 11))
    return folder


def _maps(run: RunMaker, image, centre) -> None:
    for place, (method, quantity) in enumerate(METHODS.items()):
        lump = blob(image.grid.shape, (centre[0], centre[1] + 2 * place, centre[2]))
        found = attribution(image, lump, quantity, method=method)
        run.map(found, image, f"{image.identifier}-{place}")
