"""What turns a classifier's answers at a second site: the same films, altered in one way at a time.

    python -m bench.audit_sites --model trained/views first.csv second.csv

Films of the second site lose their black bars, or take the grey values of the first; films of the first are altered
towards the second. What explains a fall of accuracy must bring it back, or cause it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxplain.data.case import Case, read_cases
from voxplain.data.prepare import Prepare
from voxplain.score.load import load_model
from voxplain.study.audit_answers import answers
from voxplain.study.audit_cohort import Seen, class_name
from voxplain.study.explain import Explainer

Film = npt.NDArray[np.float64]
Change = Callable[[Film], Film]

BLACK = 12
"""Rows and columns at the edge without a value above this are bars."""

QUANTILES = np.linspace(0, 1, 257)

BAR = 0.09
"""Of the height, at the top and at the bottom: what films of the second site have."""


def main(arguments: Sequence[str]) -> int:
    """Ask about both sites' films, as they are and altered; the exit code."""
    made = argparse.ArgumentParser(
        prog="bench.audit_sites", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", required=True, help="a folder that voxplain train left")
    made.add_argument("tables", nargs=2, type=Path, metavar="TABLE", help="cases of the first and of the second site")
    options = made.parse_args(arguments)
    explainer = Explainer(load_model(options.model), Prepare.read(Path(options.model) / "prepare.toml"))
    sites = [read_cases(table) for table in options.tables]
    greys = [quantiles(cases) for cases in sites]
    for number, (site, other) in enumerate((("first", 1), ("second", 0))):
        towards = partial(matched, own=greys[number], other=greys[other])
        changes: dict[str, Change] = {**CHANGES[site], "grey values of the other site": towards}
        for name, change in changes.items():
            print(f"{site} site, {name}: {told(explainer, sites[number], change)}", flush=True)
    return 0


def told(explainer: Explainer, cases: Sequence[Case], change: Change) -> str:
    """How many films of each label are called what they are, and the mean over patients with its interval."""
    seen = []
    for case in cases:
        image = replace(case.image)
        film = image.values[0, ..., 0].astype(np.float64)
        said = class_name(explainer.ready(image.with_values(change(film)[None, ..., None])))
        seen.append(Seen(case.identifier, case.group or "", case.label, said, 0.0, {}, {}, {}, {}))
    found = answers(seen, {case.identifier: case.group for case in cases if case.group})
    return ", ".join(
        f"{label} {one['right']} of {one['cases']}: {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        for label, one in found.items()
    )


def content(film: Film) -> tuple[slice, slice]:
    """What lies between the bars of a film (column, row)."""
    ends = [np.flatnonzero((film >= BLACK).any(axis=1 - axis)) for axis in (0, 1)]
    return slice(ends[0][0], ends[0][-1] + 1), slice(ends[1][0], ends[1][-1] + 1)


def cropped(film: Film) -> Film:
    """Without bars; the preparation stretches it to a square."""
    inner = film[content(film)]
    sizes = [side / own for side, own in zip(film.shape, inner.shape, strict=True)]
    return np.asarray(ndimage.zoom(inner, sizes, order=1))


def filled(film: Film) -> Film:
    """Bars take the values of the outermost row and column that is none."""
    where = content(film)
    outside = [(one.start, side - one.stop) for one, side in zip(where, film.shape, strict=True)]
    return np.pad(film[where], outside, mode="edge")


def barred(film: Film) -> Film:
    """Squeezed between black bars at the top and at the bottom."""
    bar = round(BAR * film.shape[1])
    found = np.zeros_like(film)
    inner = film.shape[1] - 2 * bar
    found[:, bar : bar + inner] = ndimage.zoom(film, (1, inner / film.shape[1]), order=1)
    return found


def quantiles(cases: Sequence[Case]) -> Film:
    """Quantiles of the grey values of all films without their bars; a film counts as much as another."""
    films = [replace(case.image).values[0, ..., 0].astype(np.float64) for case in cases]
    return np.asarray(np.mean([np.quantile(film[content(film)], QUANTILES) for film in films], axis=0))


def matched(film: Film, own: Film, other: Film) -> Film:
    """Every film of a site by the same curve, which brings the site's mean quantiles to those of the other."""
    return np.asarray(np.interp(film, own, other)) * (film >= BLACK)


def as_it_is(film: Film) -> Film:
    """The film."""
    return film


CHANGES: dict[str, dict[str, Change]] = {
    "first": {"as it is": as_it_is, "squeezed between bars": barred},
    "second": {"as it is": as_it_is, "bars cropped, stretched": cropped, "bars filled": filled},
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
