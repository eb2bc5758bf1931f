"""What a notebook shows of a map and of a run."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.report.made import blob, volume
from voxplain.data.attribution import Attribution
from voxplain.data.certificate import Certificate, Check
from voxplain.study.run import Outcome
from voxplain.study.run_folder import RunFolder
from voxplain.types import Quantity


@pytest.fixture
def attribution() -> Attribution:
    image = volume()
    return Attribution(
        blob(image.grid.shape, (10, 12, 8))[None] * np.float32(0.25),
        image.grid,
        Quantity.SALIENCY,
        method="occlusion(window=4)",
        target="class_score(1)",
        target_words="score of class 1 (<script>alert(1)</script>)",
        unit="logits",
        image=image,
    )


def test_a_map_shows_its_picture_and_its_raw_range(attribution):
    html = attribution._repr_html_()
    data = html.split("base64,")[1].split('"')[0]
    with Pillow.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.width > 300
    assert "raw range" in html
    assert "to 0.25 logits" in html
    assert "Check failed" not in html


def test_nothing_of_a_name_is_run(attribution):
    html = attribution._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_failed_checks_are_said_wherever_the_map_is_shown(attribution):
    failed = Check("constant", "failed", "the map is the same <everywhere>")
    html = replace(attribution, certificate=Certificate((failed,)))._repr_html_()
    assert "<b>Check failed:</b> the map is the same &lt;everywhere&gt;" in html


def test_a_map_without_its_image_has_words_alone(attribution):
    html = replace(attribution, image=None)._repr_html_()
    assert "<img" not in html
    assert "occlusion(window=4)" in html


def test_a_run_shows_its_rows(tmp_path):
    row = {"case": "a<b", "target": "class_score(1)", "method": "gradient", "status": "done", "share_in_mask": 0.5}
    html = Outcome(RunFolder(tmp_path), [row])._repr_html_()
    assert "<td>a&lt;b</td><td>class_score(1)</td><td>gradient</td><td>done</td><td>0.5</td>" in html
    assert "1 rows in" in html
