"""`voxplain report` as typed."""

import json

import numpy as np
import pytest

from tests.report.made import RunMaker, one_map, volume
from voxplain.cli.main import main
from voxplain.data.nifti import write_nifti


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("voxplain.report.figures.DPI", 60)
    run = RunMaker(tmp_path / "out")
    one_map(run)
    return run


def test_says_where_page_and_json_are(run, capsys):
    assert main(["report", str(run.folder)]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f"page: {run.folder / 'report' / 'index.html'}", f"json: {run.folder / 'report' / 'report.json'}",
    ]  # fmt: skip
    assert told.err == ""


def test_json_is_all_that_is_printed(run, capsys):
    assert main(["report", str(run.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "voxplain-report/1"


def test_what_is_missing_is_named_on_standard_error(run, capsys):
    (run.folder / "plan.toml").unlink()
    (run.folder / "cases" / "c1" / "image.nii.gz").unlink()
    assert main(["report", str(run.folder), "--json"]) == 0
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "voxplain: missing: plan.toml is missing or cannot be read",
        "voxplain: missing: cases/c1/image.nii.gz cannot be shown: 'image.nii.gz' does not exist",
    ]
    assert json.loads(told.out)["missing"]


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_nothing_to_report_is_the_users_error(tmp_path, monkeypatch, capsys, folder):
    monkeypatch.chdir(tmp_path)
    assert main(["report", folder]) == 2
    assert capsys.readouterr().err.startswith("voxplain: run folder ")


def test_an_atlas_names_structures(run, tmp_path, capsys):
    scan = volume()
    write_nifti(tmp_path / "atlas.nii.gz", np.ones(scan.values.shape), scan.grid)
    (tmp_path / "names.csv").write_text("label,name\n1,Brain\n")
    given = ["--atlas", str(tmp_path / "atlas.nii.gz"), "--atlas-names", str(tmp_path / "names.csv")]
    assert main(["report", str(run.folder), *given]) == 0
    assert main(["report", str(run.folder), *given[2:]]) == 2
    assert "--atlas-names needs --atlas" in capsys.readouterr().err
