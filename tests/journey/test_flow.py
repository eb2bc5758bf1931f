"""`voxplain flow`, `units` and `influence` from files to folders, as a stranger would use them."""

import csv
import json
from pathlib import Path

from tests.journey.conftest import VOLUME

MODEL = ("--model", VOLUME, "--weights", "weights.safetensors")
IMAGE = ("--image", "t1.nii.gz", "--id", "knee")


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_a_flow_prints_its_table_and_leaves_maps_and_figures(voxplain, files):
    done = voxplain("flow", *MODEL, *IMAGE, "--out", "out")
    assert done.code == 0, done.err
    rows = rows_of(files / "out")
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    table = [line for line in done.out.splitlines() if line[:1].isdigit()]
    assert [line.split()[1] for line in table[: len(rows)]] == [row["layer"] for row in rows]
    for row in rows:
        assert (files / "out" / row["map"]).is_file()
    figures = sorted(path.name.rpartition("-")[2] for path in (files / "out" / "figures" / "flow").iterdir())
    assert figures == ["layers.png", "montage.png", "numbers.png"]
    assert (files / "out" / "report" / "index.html").is_file()
    again = voxplain("flow", *MODEL, *IMAGE, "--out", "out")
    assert "already there" in again.err


def test_the_flow_as_one_json_document(voxplain, files):
    done = voxplain("flow", *MODEL, *IMAGE, "--layers", "blocks.0*", "--method", "hires_cam", "--out", "out", "--json")
    assert done.code == 0, done.err
    assert [row["layer"] for row in done.document["rows"]] == ["blocks.0.conv"]
    assert all(Path(figure).is_file() for figure in done.document["figures"])


def test_the_cost_of_a_flow_is_told_beforehand_and_nothing_is_written(voxplain, files):
    done = voxplain("flow", *MODEL, *IMAGE, "--method", "all", "--out", "out", "--dry-run", "--json")
    assert done.code == 0, done.err
    # One forward to look, one for all questions; the derivative and guided backpropagation.
    assert (done.document["forwards"], done.document["backwards"]) == (2, 2)
    assert not (files / "out").exists()


def test_what_cannot_flow_is_refused_in_a_sentence(voxplain, files):
    done = voxplain("flow", *MODEL, *IMAGE, "--method", "score_cam", "--out", "out")
    assert done.code == 2
    assert "runs the network once for every channel" in done.sentence
    done = voxplain("flow", *MODEL, *IMAGE, "--layers", "encoder*", "--out", "out")
    assert done.code == 2
    assert "unknown layer 'encoder*'" in done.sentence
    done = voxplain("flow", *MODEL, "--out", "out")
    assert (done.code, "flow needs one of --image and --cases" in done.sentence) == (2, True)
    assert not (files / "out").exists()


def test_units_of_a_layer_in_a_table_and_a_figure(voxplain, files):
    done = voxplain("units", *MODEL, *IMAGE, "--mask", "mask.nii.gz", "--layer", "blocks.0.conv", "--out", "out")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split()[:3] == ["channel", "label", "IoU"]
    with (files / "out" / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["label"] for row in rows} == {"1"}
    assert all(0 <= float(row["iou"]) <= float(row["ceiling"]) <= 1 for row in rows)
    assert (files / "out" / "figures" / "units.png").is_file()


def test_units_need_a_mask_and_a_layer_that_is_there(voxplain, files):
    done = voxplain("units", *MODEL, *IMAGE, "--layer", "blocks.0.conv", "--out", "out")
    assert (done.code, "needs the mask of every case" in done.sentence) == (2, True)
    done = voxplain("units", *MODEL, *IMAGE, "--mask", "mask.nii.gz", "--layer", "block", "--out", "out")
    assert (done.code, "unknown layer 'block'" in done.sentence) == (2, True)


def test_influence_of_given_regions_in_a_matrix_and_a_figure(voxplain, files):
    options = ("--mask", "mask.nii.gz", "--region-names", "rest,lesion", "--fill", "blur")
    done = voxplain("influence", *MODEL, *IMAGE, *options, "--out", "out")
    assert done.code == 0, done.err
    assert [line.split("  ")[0] for line in done.out.splitlines()[1:3]] == ["no label", "lesion"]
    rows = rows_of(files / "out")
    assert [(row["region_name"], row["output"]) for row in rows] == [
        ("no label", 0), ("no label", 1), ("lesion", 0), ("lesion", 1)
    ]  # fmt: skip
    assert (files / "out" / "figures" / "influence.png").is_file()


def test_influence_refuses_a_fill_that_is_none(voxplain, files):
    done = voxplain("influence", *MODEL, *IMAGE, "--mask", "mask.nii.gz", "--fill", "grey", "--out", "out")
    assert (done.code, "--fill must be tissue" in done.sentence) == (2, True)
