"""Small figures and an empty run folder for the tests of pages."""

import pytest

from tests.report.made import RunMaker
from voxplain.report import figures


@pytest.fixture
def small_figures(monkeypatch):
    """Figures of few pixels: pages do not get better by larger ones, only slower."""
    monkeypatch.setattr(figures, "DPI", 60)


@pytest.fixture
def run(tmp_path, small_figures):
    """Writes a run folder."""
    return RunMaker(tmp_path / "my run")
