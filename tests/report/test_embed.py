"""Pixels inside the page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import features

from voxplain.report import embed as module
from voxplain.report.embed import PAGE_BYTES, embed

NEEDS_WEBP = pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")


def opened(source: str) -> np.ndarray:
    """The picture (rows, columns, 3) of a data address, 0 to 1."""
    return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB")) / 255


def noise(columns: int, rows: int) -> np.ndarray:
    return np.random.default_rng(0).random((columns, rows, 3), dtype=np.float32)


def test_columns_run_to_the_right_and_rows_down():
    pixels = np.zeros((64, 32, 3), np.float32)
    pixels[40:, :8] = 1
    shown = opened(embed(pixels, 1))
    high, wide = shown.shape[:2]
    assert wide == 2 * high
    assert shown[: high // 5, round(0.7 * wide) :].mean() > 0.95
    assert shown[high // 2 :].mean() < 0.05


@pytest.mark.parametrize(("side", "shown"), [(16, 64), (64, 256), (224, 448), (500, 500), (1500, 1024)])
def test_small_pictures_are_enlarged_by_2_or_4_and_large_ones_shrunk(side, shown):
    assert opened(embed(np.full((side, side, 3), 0.5, np.float32), 1)).shape == (shown, shown, 3)


@NEEDS_WEBP
def test_a_single_red_pixel_keeps_its_colour():
    # Lossy WebP halves the resolution of colours; enlarging first keeps those of a voxel-fine map.
    pixels = np.full((224, 224, 3), 0.3, np.float32)
    pixels[100, 50] = (1, 0.2, 0.2)
    there = opened(embed(pixels, 1))[50 * 2 : 51 * 2, 100 * 2 : 101 * 2]
    assert there[..., 0].max() - there[..., 1].max() > 0.3


@NEEDS_WEBP
def test_colours_survive_within_a_few_steps():
    ramp = np.tile(np.linspace(0, 1, 448, dtype=np.float32)[:, None, None], (1, 64, 3))
    assert np.abs(opened(embed(ramp, 20)) - ramp.transpose(1, 0, 2)).max() <= 8 / 255


def test_more_pictures_make_each_one_smaller():
    alone, crowded = embed(noise(400, 400), 1), embed(noise(400, 400), 1000)
    assert len(crowded) < 0.7 * len(alone)


@NEEDS_WEBP
def test_a_thousand_pictures_of_tissue_stay_within_their_share():
    columns, rows = np.indices((224, 224))
    tissue = 0.5 + 0.2 * np.sin(columns / 5) * np.cos(rows / 4)
    tissue = np.repeat((tissue + np.random.default_rng(0).normal(0, 0.02, tissue.shape))[..., None], 3, -1)
    assert len(embed(tissue.astype(np.float32), 1000)) * 3 / 4 <= PAGE_BYTES / 1000


def test_values_beyond_black_and_white_do_not_wrap_around():
    assert opened(embed(np.full((8, 8, 3), 1.2, np.float32), 1)).min() > 0.98
    assert opened(embed(np.full((8, 8, 3), -0.2, np.float32), 1)).max() < 0.02


def test_without_webp_the_picture_is_a_png(monkeypatch):
    monkeypatch.setattr(module.features, "check", lambda name: False)
    assert embed(noise(30, 10), 1).startswith("data:image/png;base64,")


def test_base64_of_all_pictures_leaves_half_of_the_page():
    assert PAGE_BYTES * 4 / 3 <= 30_000_000
