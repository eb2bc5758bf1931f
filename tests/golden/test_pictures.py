"""Every figure looks as it did when somebody last looked at it; scripts/golden.py draws the stored pictures again."""

import importlib
import inspect
import pkgutil
import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import voxplain.report
from tests.golden.compare import PICTURES, TOLERANCE, difference, known_writing, rendered, stored, texts, words
from tests.golden.drawn import FIGURES
from tests.golden.phantoms import head, maps, mask
from voxplain.report import figures_overlay
from voxplain.report.figures import png

MOST_SECONDS = 1.0
"""What a figure may take on one core."""

MOST_BYTES = 1_600_000
"""Of all stored pictures together."""

TOUCHING = 0.15
"""Share of the smaller of two texts that may lie under the other: boxes are larger than their letters."""

WRITTEN = known_writing()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_it_did(name):
    pixels, boxes = rendered(FIGURES[name]())
    assert words(boxes) == words(WRITTEN[name])
    assert difference(stored(name), pixels, [*boxes, *WRITTEN[name]]) < TOLERANCE


def test_every_stored_picture_is_of_a_figure_and_together_they_are_small():
    files = list(PICTURES.glob("*.png"))
    assert {file.stem for file in files} == set(FIGURES) == set(WRITTEN)
    assert sum(file.stat().st_size for file in files) < MOST_BYTES


def test_every_function_that_draws_has_a_picture():
    used = inspect.getsource(importlib.import_module("tests.golden.drawn"))
    for module in pkgutil.iter_modules(voxplain.report.__path__):
        if module.name.startswith("figures_"):
            names = [
                name
                for name in vars(importlib.import_module(f"voxplain.report.{module.name}"))
                if name.startswith("draw_")
            ]
            own = importlib.import_module(f"voxplain.report.{module.name}")
            mine = [name for name in names if getattr(own, name).__module__ == own.__name__]
            lacking = [name for name in mine if f"{name}(" not in used and module.name != "figures_board"]
            assert not lacking, f"tests/golden/drawn.py must draw {lacking} of {module.name}"


@pytest.mark.parametrize("name", FIGURES)
def test_no_letters_are_cut_or_lie_on_each_other(name):
    figure = FIGURES[name]()
    figure.canvas.draw()
    wide, high = figure.get_size_inches() * figure.dpi
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= wide + 1, text
        assert box.y1 <= high + 1, text
    for (one, box), (other, beside) in combinations(boxes, 2):
        common = box.intersection(box, beside)
        area = 0 if common is None else common.width * common.height
        smaller = min(box.width * box.height, beside.width * beside.height)
        assert area <= TOUCHING * smaller, f"{one!r} lies on {other!r}"


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_takes_less_than_a_second(name):
    png(FIGURES[name]())
    start = time.process_time()
    png(FIGURES[name]())
    assert time.process_time() - start < MOST_SECONDS


IMAGE = head()
RIGHT = maps(IMAGE)[0]


def overlay(values, *, lesion=True, **options) -> float:
    """How far an overlay with a fault is from the stored one."""
    outlines = {"lesion": mask(IMAGE)} if lesion else None
    figure = figures_overlay.draw_overlay(IMAGE, replace(RIGHT, values=values), outlines=outlines, **options)
    pixels, boxes = rendered(figure)
    return difference(stored("overlay"), pixels, [*boxes, *WRITTEN["overlay"]])


def test_the_right_overlay_passes():
    assert overlay(RIGHT.values) < 1


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (RIGHT.values[::-1], {}),
        (RIGHT.values[:, ::-1], {}),
        (np.roll(RIGHT.values, 1, axis=0), {}),
        (-RIGHT.values, {}),
        (RIGHT.values, {"lesion": False}),
        (RIGHT.values, {"limits": (-0.25, 0.25)}),
        (RIGHT.values, {"opacity": 0.4}),
        (RIGHT.values, {"index": 18}),
    ],
    ids=[
        "left for right",
        "front for back",
        "a voxel aside",
        "colours swapped",
        "no outline",
        "limits",
        "opacity",
        "slice",
    ],
)
def test_a_picture_with_a_fault_is_caught(fault, options):
    assert overlay(fault, **options) > TOLERANCE


def test_letters_are_left_out_and_nothing_else():
    plain = np.zeros((60, 60, 3), np.uint8)
    written = plain.copy()
    written[10:16, 10:40] = 255
    assert difference(plain, written) > TOLERANCE
    assert difference(plain, written, [("words", 10, 10, 40, 16)]) == 0
    written[40:46, 10:40] = 255
    assert difference(plain, written, [("words", 10, 10, 40, 16)]) > TOLERANCE


def test_another_size_is_another_picture():
    assert difference(np.zeros((60, 60, 3), np.uint8), np.zeros((60, 61, 3), np.uint8)) == float("inf")
