"""The figures of the NeuroXAI study, from its folder alone."""

from __future__ import annotations

from pathlib import Path

from voxplain.report.study_neuroxai_flow import write_flow_figures
from voxplain.report.study_neuroxai_grade import write_grade_figures
from voxplain.report.study_neuroxai_volumes import write_volume_figures
from voxplain.study.study_neuroxai_methods import EXPLAINED
from voxplain.study.study_neuroxai_numbers import read_explained


def write_figures(folder: Path) -> list[Path]:
    """Draw everything that `folder` holds the maps of into `folder`/figures; returns the files."""
    written = []
    if (folder / "grade" / EXPLAINED).is_file():
        written += write_grade_figures(folder / "grade", folder / "figures" / "grade")
    volumes = folder / "segmentation"
    if (volumes / EXPLAINED).is_file():
        told = read_explained(volumes)
        written += write_volume_figures(volumes, told, folder / "figures" / "segmentation")
        written += write_flow_figures(volumes, told, folder / "figures" / "flow")
    return written
