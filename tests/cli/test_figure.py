"""`voxplain figure`: one figure of a run folder in a file."""

import pytest

from tests.report.made import RunMaker, attribution, picture, volume
from voxplain.cli.main import main
from voxplain.report.figure_kinds import KINDS


@pytest.fixture
def folder(tmp_path):
    run = RunMaker(tmp_path / "run")
    for image in (volume(), picture()):
        run.case(image, image.identifier.replace(" ", ""))
        run.map(attribution(image), image, image.identifier.replace(" ", ""))
    return run.folder


def ask(folder, kind: str, out, *more: str) -> int:
    return main(["figure", str(folder), "--kind", kind, "--out", str(out), *more])


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")]
)
def test_the_suffix_says_what_is_written(folder, tmp_path, capsys, suffix, start):
    file = tmp_path / f"figure.{suffix}"
    assert ask(folder, "montage", file, "--slices", "2") == 0
    assert file.read_bytes().startswith(start)
    assert capsys.readouterr().out == f"figure: {file}\n"


def test_cases_are_named_by_their_ids(folder, tmp_path):
    assert ask(folder, "planes", tmp_path / "one.png", "--case", "case b") == 0
    assert ask(folder, "matrix", tmp_path / "two.png", "--case", "case b") == 0
    assert ask(folder, "matrix", tmp_path / "two.png", "--case", "case b", "--case", "case a") == 0


@pytest.mark.parametrize(
    ("kind", "out", "more", "said"),
    [
        ("planes", "a.jpg", [], "figure must be a file ending in .png, .pdf or .svg, got 'a.jpg'"),
        ("planes", "a", [], "got 'a'"),
        ("plane", "a.png", [], "unknown kind of figure 'plane'; did you mean 'planes'?"),
        ("planes", "a.png", ["--opacity", "0.4"], "kind 'planes' has no option 'opacity'"),
        ("planes", "a.png", ["--slice", "4"], "kind 'planes' has no option 'slice'"),
        ("planes", "a.png", ["--case", "a", "--case", "b"], "kind 'planes' shows one case, got 2"),
        ("montage", "a.png", ["--case", "case b"], "a montage must be of a volume"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence(folder, tmp_path, capsys, kind, out, more, said):
    assert ask(folder, kind, tmp_path / out, *more) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / out).exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert ask(tmp_path, "planes", tmp_path / "a.png") == 2
    assert "must be a run folder, got one without plan.toml" in capsys.readouterr().err


def test_the_help_lists_every_kind(capsys):
    with pytest.raises(SystemExit):
        main(["figure", "--help"])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and kind.words in shown for name, kind in KINDS.items())
