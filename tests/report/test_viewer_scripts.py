"""The viewer's own scripts: small enough to read, free of syntax errors, and all of them loaded."""

import re
import shutil
import subprocess
from importlib.resources import files

import pytest

from voxplain.report.viewer_assets import SCRIPTS, asset

OWN = [name for name in SCRIPTS if name != "niivue.js"]


@pytest.mark.parametrize("name", OWN)
def test_a_script_is_no_longer_than_a_module(name):
    assert len(asset(name).splitlines()) <= 300


@pytest.mark.parametrize("name", OWN)
def test_a_script_can_be_parsed(name):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here; the tests in Chromium run the scripts, too")
    script = str(files("voxplain.report").joinpath("viewer", name))
    found = subprocess.run([node, "--check", script], check=False, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr


def test_the_local_page_loads_every_script_in_its_order():
    assert tuple(re.findall(r'<script src="([^"]+)" defer>', asset("page.html"))) == SCRIPTS


def test_no_script_lies_there_unused():
    there = {one.name for one in files("voxplain.report").joinpath("viewer").iterdir()}
    assert {name for name in there if name.endswith(".js")} == set(SCRIPTS)
