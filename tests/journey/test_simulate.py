"""`voxplain simulate` as typed: what it writes, says and refuses."""

import csv
import json

import pytest
from PIL import Image

from voxplain.cli.main import main


@pytest.fixture
def typed(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder; returns exit code, standard output and the last line of standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(["simulate", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, (err.strip().splitlines() or [""])[-1]

    return run


def rows(folder):
    with (folder / "cases.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_with_table_masks_and_overview(typed, tmp_path):
    code, out, _ = typed("pumpkins", "--n", 4, "--seed", 3, "--out", "made", "--workers", 1)
    assert code == 0
    assert out.splitlines()[0] == "4 images in made"
    assert len(rows(tmp_path / "made")) == 4
    with Image.open(tmp_path / "made" / "overview.png") as picture:
        assert picture.size[0] > 600


def test_the_same_request_is_reused_under_its_own_name(typed, tmp_path):
    said = [typed("chest(side=64)", "--n", 3, "--workers", 1)[1] for _ in range(2)]
    assert "3 images in phantoms/chest-" in said[0].replace("\\", "/")
    assert "(3 of them lay there already)" in said[1]
    assert len(list((tmp_path / "phantoms").iterdir())) == 1


def test_flags_are_options_of_the_spec(typed, tmp_path):
    flags = ("--growth-mode", "eternal", "--uniform", "no", "--target-bias", "30")
    spec = "pumpkins(growth_mode='eternal', uniform=False, target_bias=30.0)"
    typed("pumpkins", *flags, "--n", 2, "--out", "flags", "--workers", 1)
    typed(spec, "--n", 2, "--out", "spec", "--workers", 1)
    assert rows(tmp_path / "flags") == rows(tmp_path / "spec")
    assert (tmp_path / "flags/phantom.toml").read_text() == (tmp_path / "spec/phantom.toml").read_text()


def test_planting_takes_a_table_and_changes_all_of_it(typed, tmp_path):
    typed("chest(side=64)", "--n", 4, "--out", "chest", "--workers", 1)
    code, out, _ = typed("plant(kind='marker', share=[1.0])", "--cases", "chest/cases.csv", "--out", "marked")
    assert code == 0
    assert out.startswith("4 images in marked")
    assert {row["planted"] for row in rows(tmp_path / "marked")} == {"1"}


def test_json_says_where_everything_is(typed):
    _, out, _ = typed("chest(side=64)", "--n", 2, "--out", "made", "--json", "--workers", 1)
    document = json.loads(out)
    assert document["count"] == document["made"] == 2
    assert document["table"].endswith("cases.csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pumpkins", "--n", 0), "n must be at least 1, got 0"),
        (("pumpkins", "--workers", 0), "workers must be at least 1"),
        (("pumpkin",), "unknown phantom 'pumpkin'; did you mean 'pumpkins'?"),
        (("chest", "--growth-mode", "human"), "chest: unknown option 'growth_mode'"),
        (("pumpkins", "--growth-mode", "fast"), "growth_mode must be one of"),
        (("pumpkins", "--uniform", "maybe"), "--uniform must be yes or no, got 'maybe'"),
        (("pumpkins", "--uniform", "no"), "target_bias must be from 20 to 80 years"),
        (("pumpkins(uniform=True)", "--uniform", "no"), "uniform must be given once"),
        (("plant",), "cases must name a table of images, got none; pass --cases TABLE"),
        (("plant", "--cases", "absent.csv"), "table 'absent.csv' does not exist"),
        (("pumpkins", "--seed", -1), "seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(typed, tmp_path, arguments, words):
    code, _, sentence = typed(*arguments, "--out", "made")
    assert code == 2
    assert words in sentence
    assert not (tmp_path / "made").exists()


def test_more_images_than_the_table_has_are_refused(typed, tmp_path):
    typed("chest(side=64)", "--n", 2, "--out", "chest", "--workers", 1)
    code, _, sentence = typed("plant", "--cases", "chest/cases.csv", "--n", 5, "--out", "more")
    assert code == 2
    assert "n must be at most 2, the rows of the table, got 5" in sentence


def test_the_listing_names_every_phantom(capsys):
    from voxplain.phantoms import PHANTOMS

    assert main(["phantoms", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == list(PHANTOMS)
    assert all(entry["title"] and entry["options"] is not None for entry in listed)


def test_the_public_face_has_phantoms():
    import voxplain as vx

    assert "pumpkins" in vx.phantoms()
    assert vx.phantom("pumpkins(growth_mode='eternal')").growth_mode == "eternal"
