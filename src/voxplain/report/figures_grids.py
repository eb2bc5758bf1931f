"""Many cases on one page: grids with black and red titles, right against wrong, strong against weak, the catalogue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from voxplain.data.image import Image
from voxplain.errors import FileError, InputError
from voxplain.report.contents import Run, read_run
from voxplain.report.figures import Picture
from voxplain.report.figures_board import PAPER, Cell, Row, draw_board
from voxplain.report.figures_runs import case_maps, case_names
from voxplain.report.figures_view import Shown, checked, image_cell, map_cell, scales, view

OPACITY = 0.5
"""Of a map over the image, as in the source studies."""

FEW = 4
"""Cases that a figure takes from a run where none are named."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One case: what is true, what a model said, and perhaps why."""

    image: Image
    truth: str = ""
    """The true class; '' where nobody knows."""
    predicted: str = ""
    """'' for an image that no model has seen."""
    probability: float | None = None
    """Of the predicted class."""
    shown: Shown | None = None
    """The map that explains the prediction."""

    @property
    def wrong(self) -> bool:
        """True where truth and prediction are known and differ."""
        return bool(self.truth and self.predicted) and self.truth != self.predicted

    @property
    def words(self) -> str:
        """The title: what was predicted; what is true where that differs, so that red is not the only sign."""
        sure = "" if self.probability is None else f" {self.probability:.2f}"
        if not self.predicted:
            return self.truth or self.image.identifier
        return f"{self.predicted}{sure}" + (f", WRONG: is {self.truth}" if self.wrong else "")


def draw_grid(samples: Sequence[Sample], *, columns: int = 2, maps: bool = True, title: str = "") -> Picture:
    """Images in a grid, titled in black by their predicted class, in red where that is wrong; 2 x 2 in the study.

    With `maps`, those that samples bring lie over the images at opacity 0.5.
    """
    if columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    cells = [_cell(one, maps=maps) for one in samples]
    rows = [Row(tuple(cells[start : start + columns])) for start in range(0, len(cells), columns)]
    words = [_titles(samples), *(_map_words(samples) if maps else [])]
    return draw_board(rows, title=title, caption=words, look=PAPER, largest=(2.2, 2.4))


def draw_right_wrong(right: Sequence[Sample], wrong: Sequence[Sample], *, title: str = "") -> Picture:
    """Right predictions at the left, wrong ones at the right, each as image and map; rows are filled from the top.

    Raises InputError where a sample stands on the side that it does not belong to.
    """
    for side, samples, expected in (("right", right, False), ("wrong", wrong, True)):
        for one in samples:
            if one.wrong != expected:
                raise InputError(f"{side} must hold {side} predictions only, got {one.image.identifier!r}: {one.words}")
    rows = []
    for left, other in zip_longest(right, wrong):
        rows.append(Row((*_pair(left), *_pair(other))))
    words = ["Left: right predictions; right: wrong ones.", _titles([*right, *wrong]), *_map_words([*right, *wrong])]
    return draw_board(rows, title=title, caption=words, look=PAPER)


def draw_models(models: Mapping[str, Sequence[Sample]], *, shared: bool = False, title: str = "") -> Picture:
    """The same cases explained for several models, such as a strong and a weak one: a row a case, a column a model.

    `shared` gives the models of one row the same colour limits where their maps are of one unit. Raises InputError
    where the models do not bring the same cases in the same order.
    """
    names = list(models)
    lengths = {len(samples) for samples in models.values()}
    if len(lengths) != 1 or not lengths.pop():
        counts = ", ".join(f"{name} {len(samples)}" for name, samples in models.items())
        raise InputError(f"models must bring the same number of cases, at least one, got {counts or 'none'}")
    rows = []
    for same in zip(*models.values(), strict=True):
        identifiers = {one.image.identifier for one in same}
        if len(identifiers) > 1:
            raise InputError(
                f"models must bring the same cases in the same order, got {', '.join(sorted(identifiers))}"
            )
        rows.append(_model_row(names, same, shared))
    every = [one for samples in models.values() for one in samples]
    limits = ["Models of one row share colour limits where their maps are of one unit."] if shared else []
    return draw_board(rows, title=title, caption=[_titles(every), *_map_words(every), *limits], look=PAPER)


def _model_row(names: Sequence[str], same: Sequence[Sample], shared: bool) -> Row:
    first = same[0]
    maps = [checked(one.image, one.shown) for one in same if one.shown is not None]
    on = view(first.image, maps)
    drawn = iter(zip(maps, scales(maps, shared=shared, opacity=OPACITY), strict=True))
    cells = [image_cell(on, f"{first.image.identifier}: {first.truth or 'truth unknown'}")]
    for name, one in zip(names, same, strict=True):
        title = f"{name}: {one.words}"
        if one.shown is None:
            cells.append(replace(image_cell(on, title), bad=one.wrong))
        else:
            shown, scale = next(drawn)
            cells.append(replace(map_cell(on, shown, scale, name=title, backdrop="image"), bad=one.wrong))
    return Row(tuple(cells))


def draw_catalogue(
    samples: Sequence[Sample] | Iterator[Sample], *, per_page: int = 8, title: str = ""
) -> Iterator[Picture]:
    """Pages over a test folder: of each case image, map alone and map over image, with prediction and truth.

    Samples are taken one page at a time, so that a long folder never lies in memory. Raises InputError for a page
    without places.
    """
    if per_page < 1:
        raise InputError(f"per_page must be at least 1, got {per_page}")
    return _pages(iter(samples), per_page, title)


def _pages(samples: Iterator[Sample], per_page: int, title: str) -> Iterator[Picture]:
    page, count = [], 0
    for one in samples:
        page.append(one)
        if len(page) == per_page:
            count += 1
            yield _page(page, f"{title}, page {count}".lstrip(", "))
            page = []
    if page:
        yield _page(page, f"{title}, page {count + 1}".lstrip(", "))


def _page(samples: Sequence[Sample], title: str) -> Picture:
    """Two cases a row, three pictures a case."""
    cells = [_triple(one) for one in samples]
    rows = [
        Row(tuple(part for three in cells[start : start + 2] for part in three)) for start in range(0, len(cells), 2)
    ]
    return draw_board(
        rows, title=title, caption=[_titles(samples), *_map_words(samples)], look=PAPER, largest=(1.35, 1.5)
    )


def _triple(one: Sample) -> tuple[Cell | None, ...]:
    image, over = _pair(one)
    if one.shown is None or image is None or over is None:
        return image, over, None
    shown = checked(one.image, one.shown)
    on = view(one.image, [shown])
    alone = map_cell(on, shown, scales([shown])[0], name="map alone", backdrop="black")
    return (
        replace(image, panel=replace(image.panel, letters=("", "", "", ""))),
        alone,
        replace(over, scale=None, told=()),
    )


def _pair(one: Sample | None) -> tuple[Cell | None, Cell | None]:
    """The image under its title, and the map over it."""
    if one is None:
        return None, None
    shown = None if one.shown is None else checked(one.image, one.shown)
    on = view(one.image, [] if shown is None else [shown])
    title = f"{one.image.identifier}: {one.words}"
    image = replace(image_cell(on, title), bad=one.wrong)
    if shown is None:
        return image, None
    scale = scales([shown], opacity=OPACITY)[0]
    return image, map_cell(on, shown, scale, backdrop="image")


def _cell(one: Sample, *, maps: bool) -> Cell:
    if one.shown is None or not maps:
        return replace(image_cell(view(one.image), one.words), bad=one.wrong)
    shown = checked(one.image, one.shown)
    scale = scales([shown], opacity=OPACITY)[0]
    return replace(map_cell(view(one.image, [shown]), shown, scale, name=one.words, backdrop="image"), bad=one.wrong)


def _titles(samples: Sequence[Sample]) -> str:
    known = [one for one in samples if one.truth and one.predicted]
    if not known:
        return "Titles: what is true, or the case's name."
    right = sum(not one.wrong for one in known)
    return (
        f"Titles: predicted class and its probability, red where it is wrong; {right} of {len(known)} shown are right."
    )


def _map_words(samples: Sequence[Sample]) -> list[str]:
    names = dict.fromkeys(one.shown.name for one in samples if one.shown is not None)
    if not names:
        return []
    told = (
        f"Maps: {', '.join(names)}, each with limits of its own" if len(names) <= 4 else "Maps with limits of their own"
    )
    return [f"{told}: full colour need not be much, read the raw range."]


def samples_from_run(folder: Path, method: str, cases: Sequence[str] | None = None) -> Iterator[Sample]:
    """The cases of a run folder with a method's first map, one after the other; a case without it comes without map."""
    run = read_run(folder)
    for case in case_names(run) if cases is None else cases:
        yield sample_from_run(run, method, case)


def sample_from_run(folder: Path | Run, method: str, case: str, **options: Any) -> Sample:
    """One case of a run folder with a method's first map."""
    found = case_maps(folder, case, **options)
    maps = [one for one in found.maps if one.method.partition("(")[0] == method]
    shown = Shown.of(maps[0]) if maps else None
    return Sample(found.image, found.truth, found.predicted, found.probabilities.get(found.predicted), shown)


def grid_from_run(folder: Path, method: str, cases: Sequence[str] | None = None, **options: Any) -> Picture:
    """The grid of a run folder's cases with a method's maps, the first four where none are named."""
    samples = samples_from_run(folder, method, cases)
    chosen = list(samples if cases is not None else islice(samples, FEW))
    if not chosen:
        raise FileError(f"run folder {folder.name!r} must hold a case with an image and a map, got none")
    return draw_grid(chosen, **options)


def right_wrong_from_run(folder: Path, method: str, cases: Sequence[str] | None = None, **options: Any) -> Picture:
    """Right predictions of a run folder beside wrong ones, the first four of either where no cases are named.

    Raises InputError where no case has both a label and a predicted class.
    """
    found: dict[bool, list[Sample]] = {False: [], True: []}
    for one in samples_from_run(folder, method, cases):
        if one.truth and one.predicted and (cases is not None or len(found[one.wrong]) < FEW):
            found[one.wrong].append(one)
    if not any(found.values()):
        raise InputError("cases must have a label and a predicted class to be told right from wrong, none has both")
    return draw_right_wrong(found[False], found[True], **options)
