"""The block of interactive images in the report page: closed, escaped, and within its room."""

import base64
import gzip
import hashlib
import json
import re

import numpy as np
import pytest

from tests.report.made import attribution, one_map, picture, volume
from voxplain.report import volumes
from voxplain.report.contents import read_run
from voxplain.report.viewer_assets import asset, own_script, packed_niivue
from voxplain.report.volumes import volumes_block

EVIL = "</script><script>alert(1)</script>\u2028<!--"


def block(run, **options):
    return volumes_block(read_run(run.folder), **options)


def data(markup: str, name: str) -> str:
    """The text of a data element."""
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', markup, re.DOTALL).group(1)


def names(markup: str) -> list[str]:
    return re.findall(r'id="volume-([^"]+)"', markup)


def test_a_run_without_images_gets_no_block_and_no_scripts(run):
    found = block(run)
    assert found.markup == ""
    assert "script-src 'none'" in found.policy


def test_every_volume_lies_in_the_page_with_its_facts(run):
    one_map(run)
    found = block(run)
    assert names(found.markup) == ["c0-i0", "c0-m0"]
    assert found.left_out == 0
    told = json.loads(data(found.markup, "volume-c0-m0"))
    assert told["method"] == "occlusion(window=4)"
    assert gzip.decompress(base64.b64decode(told["base64"]))[:4] == (348).to_bytes(4, "little")


def test_the_index_names_cases_and_maps(run):
    one_map(run)
    told = json.loads(data(block(run).markup, "volumes-index"))
    assert told["cases"][0]["maps"][0]["key"] == "c0-m0"


def test_names_cannot_end_their_element(run):
    image = picture(identifier=EVIL, channels=(EVIL,), unit=EVIL)
    run.case(image, label=EVIL, prediction={"words": EVIL})
    run.map(attribution(image, method=EVIL, target_words=EVIL, unit=EVIL, notes=(EVIL,)), image)
    markup = block(run).markup
    assert "alert(1)</script>" not in markup
    assert json.loads(data(markup, "volumes-index"))["cases"][0]["name"] == EVIL
    assert json.loads(data(markup, "volume-c0-m0"))["notes"] == [EVIL]


def test_the_policy_names_the_scripts_of_the_page_and_no_others(run):
    one_map(run)
    found = block(run)
    allowed = re.search("script-src ([^;]+);", found.policy).group(1).split()
    (own,) = re.findall(r"<script>(.*?)</script>", found.markup, re.DOTALL)
    digests = [hashlib.sha256(text.encode()).digest() for text in (own, asset("niivue.js"))]
    assert allowed == [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert "'unsafe-inline'" not in allowed
    assert '"' not in found.policy


def test_what_is_beyond_the_room_is_left_to_the_local_server(run):
    one_map(run)
    room = len(block(run).markup)
    assert names(block(run, page_bytes=room).markup) == ["c0-i0", "c0-m0"]
    first = len(re.search(r'<script type="application/json" id="volume-c0-i0">.*?</script>', block(run).markup).group())
    found = block(run, page_bytes=first)
    assert names(found.markup) == ["c0-i0"]
    assert found.left_out == 1
    assert block(run, page_bytes=first - 1).left_out >= 1


def test_a_large_volume_stays_beside_the_page(run, monkeypatch):
    monkeypatch.setattr(volumes, "LARGEST_INSIDE", 1000)
    image = volume(shape=(10, 10, 11))
    run.case(image)
    assert block(run).left_out == 1


def test_a_broken_map_says_so_in_its_place(run):
    one_map(run).write_bytes(b"no map")
    assert "NIfTI" in json.loads(data(block(run).markup, "volume-c0-m0"))["problem"]


def test_the_same_run_gives_the_same_block(run):
    one_map(run)
    assert block(run).markup == block(run).markup


@pytest.mark.parametrize("width", [224, 64])
def test_a_map_of_a_common_size_takes_little_room(run, width):
    shape = (width, width, 1) if width == 224 else (width, width, width)
    image = picture(width, width) if width == 224 else volume(shape=shape)
    run.case(image)
    smooth = np.add.outer(np.add.outer(np.arange(shape[0]), np.arange(shape[1])), np.arange(shape[2]))
    run.map(attribution(image, np.sin(smooth / 30)), image)
    page = block(run).markup
    assert len(data(page, "volume-c0-m0")) < 400_000


def test_the_drawing_library_is_the_one_that_was_recorded():
    told = dict(line.split(maxsplit=1) for line in asset("niivue.txt").splitlines())
    assert hashlib.sha256(asset("niivue.js").encode()).hexdigest() == told["sha256"]
    assert f"NiiVue {told['version']}" in asset("niivue-licenses.txt")
    assert "BSD 2-Clause License" in asset("niivue-licenses.txt")


def test_the_packed_library_is_the_library():
    assert gzip.decompress(base64.b64decode(packed_niivue())).decode() == asset("niivue.js")
    assert len(packed_niivue()) < 1_100_000


def test_no_script_can_end_its_own_element():
    assert "</script" not in own_script() + asset("niivue.js")


def test_our_files_name_no_address_elsewhere():
    for name in ("page.html", "viewer.html", "viewer.css", "scene.js", "words.js", "source.js", "viewer.js"):
        assert "://" not in asset(name), name
