"""The benchmarks beside `make bench` that draw and that measure memory, at a size of seconds."""

from pathlib import Path

import pytest

from bench import figures, scans


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(figures, "SHAPE", (24, 24, 16))
    monkeypatch.setattr(figures, "CELLS", {"early": 12, "deep": 6})


def test_every_kind_has_its_line_and_its_picture(small, tmp_path, capsys):
    assert figures.main(["--keep", str(tmp_path), "--kinds", "overlay", "flow", "modalities", "error"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["| kind | drawing, s | reading, s |", "|---|---|---|"]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["`overlay`", "`flow`", "`modalities`", "`error`"]
    assert all(0 <= float(cell) < 60 for line in lines[2:] for cell in line.split("|")[2:4])
    assert {one.stem for one in tmp_path.glob("*.png")} == {"overlay", "flow", "modalities", "error"}


def test_a_scan_is_explained_by_one_command_a_method_and_a_flow_by_its_own(monkeypatch, tmp_path, capsys):
    asked = []

    def pretend(*words: str) -> float:
        asked.append(words)
        for name in ("flair", "t1", "t1ce", "t2"):
            (tmp_path / "scan").mkdir(exist_ok=True)
            (tmp_path / "scan" / f"one_{name}.nii.gz").touch()
        return 11.5 if "deep_lift" in words else 2.5

    monkeypatch.setattr(scans, "_voxplain", pretend)
    assert scans.main(["--keep", str(tmp_path), "--memory", "5GB", "--methods", "deep_lift", "flow"]) == 0
    assert [words[0] for words in asked] == ["simulate", "explain", "flow"]
    methods = [words[words.index("--method") + 1] for words in asked[1:]]
    assert methods == ["deep_lift", "grad_cam"]
    assert all(words[words.index("--memory") + 1] == "5GB" for words in asked[1:])
    assert all(Path(words[words.index("--image") + 1].partition("=")[2]).exists() for words in asked[1:])
    out = capsys.readouterr().out
    assert "budget 5GB" in out
    assert "| `deep_lift` | 11.50 |" in out


def test_more_than_a_machine_of_12_gb_holds_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(scans, "_scan", lambda folder: tmp_path)
    monkeypatch.setattr(scans, "_line", lambda *words: 12.1)
    assert scans.main(["--keep", str(tmp_path), "--methods", "lrp"]) == 1
