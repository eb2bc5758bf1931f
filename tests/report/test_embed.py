"""Pictures inside the page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import features

from voxplain.report import embed as module
from voxplain.report.embed import PAGE_BYTES, embed


def noise(width: int = 1400, height: int = 700) -> bytes:
    stream = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Pillow.fromarray(values).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


def opened(source: str) -> Pillow.Image:
    return Pillow.open(io.BytesIO(base64.b64decode(source.split(",")[1])))


def test_the_stated_size_is_the_pictures():
    found = embed(noise(), (0, 1), 1)
    assert opened(found.source).size == (found.width, found.height)


def test_only_the_body_is_taken():
    values = np.zeros((100, 200, 3), dtype=np.uint8)
    values[:20] = 255
    stream = io.BytesIO()
    Pillow.fromarray(values).save(stream, "PNG")
    found = embed(stream.getvalue(), (0.1, 0.8), 1)
    assert (found.width, found.height) == (200, 70)
    assert np.asarray(opened(found.source).convert("L")).max() < 40


def test_more_pictures_make_each_one_smaller():
    alone, crowded = embed(noise(), (0, 1), 1), embed(noise(), (0, 1), 100)
    assert len(crowded.source) < len(alone.source)
    assert crowded.width < alone.width


def test_a_picture_that_fits_keeps_its_size():
    assert embed(noise(600, 300), (0, 1), 1).width == 600


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")
def test_colours_survive_within_a_few_steps():
    ramp = np.tile(np.linspace(0, 255, 512, dtype=np.uint8)[None, :, None], (64, 1, 3))
    stream = io.BytesIO()
    Pillow.fromarray(ramp).save(stream, "PNG")
    shown = np.asarray(opened(embed(stream.getvalue(), (0, 1), 20).source).convert("RGB")).astype(int)
    assert np.abs(shown - ramp).max() <= 8


def test_without_webp_the_picture_is_a_png(monkeypatch):
    monkeypatch.setattr(module.features, "check", lambda name: False)
    assert embed(noise(300, 100), (0, 1), 1).source.startswith("data:image/png;base64,")


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")
def test_ninety_six_pictures_of_tissue_keep_a_page_below_five_megabytes():
    rows, columns = np.indices((640, 1060))
    tissue = 120 + 60 * np.sin(rows / 15) * np.cos(columns / 11) + np.random.default_rng(0).normal(0, 4, rows.shape)
    stream = io.BytesIO()
    Pillow.fromarray(tissue.astype(np.uint8)).save(stream, "PNG")
    assert 96 * len(embed(stream.getvalue(), (0, 1), 96).source) < 5_000_000


def test_base64_of_all_pictures_leaves_room_for_the_words():
    assert PAGE_BYTES * 4 / 3 < 4_600_000
