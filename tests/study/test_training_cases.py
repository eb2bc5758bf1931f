"""Cases of a training from every layout, and what is said where something is missing."""

import csv

import numpy as np
import pytest
from PIL import Image

from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, InputError
from voxplain.study.training_cases import part_of, training_cases
from voxplain.training.recipe import Recipe

RECIPE = Recipe(
    task="classification",
    network="small_cnn_2d",
    columns={"image": ("image", "file"), "label": ("label", "view"), "group": ("group", "patient_id")},
)


def picture(path, value=0, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(abs(hash(path.name)) % 2**32).integers(1, 200, size[::-1]).astype(np.uint8)
    pixels[0, 0] = value
    Image.fromarray(pixels).save(path)
    return path


def table(path, rows, delimiter=","):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_table_may_call_its_columns_otherwise(tmp_path):
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
    rows = [
        {"file": f"images/{n}.png", "view": v, "patient_id": f"p{n}", "split": "training"}
        for n, v in zip("ab", "xy", strict=True)
    ]
    table(tmp_path / "labels.csv", rows)
    cases = training_cases(tmp_path, RECIPE)
    assert [(case.label, case.group, part_of(case)) for case in cases] == [("x", "pa", "train"), ("y", "pb", "train")]


def test_a_column_that_another_one_takes_the_name_of_is_out_of_the_way(tmp_path):
    picture(tmp_path / "a.png")
    Image.fromarray(np.eye(5, 6, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    table(tmp_path / "labels.csv", [{"image": "a.png", "label": "m.png", "volume": "12.5"}])
    recipe = Recipe(
        task="regression", network="pumpkin_net", loss="squared", columns={"mask": "label", "label": ["volume"]}
    )
    (case,) = training_cases(tmp_path, recipe)
    assert case.label == "12.5"
    assert case.mask.values.sum() == 5


@pytest.mark.parametrize("roots", [("tiles", "masks"), ("", "masks")])
def test_the_layout_of_the_myopathy_study(tmp_path, roots):
    for state, name in (("healthy", "h.tif"), ("affected", "a.tif")):
        picture(tmp_path / roots[0] / state / name)
        Image.fromarray(np.full((5, 6), 255, np.uint8)).save(picture(tmp_path / roots[1] / state / name))
    rows = [{"img_name": "h.tif", "label": 0, "group": "p1"}, {"img_name": "a.tif", "label": 1, "group": "p2"}]
    cases = training_cases(table(tmp_path / "dataset.csv", rows, ";"), RECIPE)
    assert [(case.identifier, case.label, case.group) for case in cases] == [
        ("h", "healthy", "p1"),
        ("a", "affected", "p2"),
    ]
    assert all(case.mask.values.min() == 1 for case in cases)


@pytest.mark.parametrize(("row", "sentence"), [
    ({"img_name": "h.tif", "label": "2", "group": "p"}, "must have an img_name and the label 0 or 1, got label '2'"),
    ({"img_name": "x.tif", "label": "0", "group": "p"}, "image healthy/x.tif does not exist"),
])  # fmt: skip
def test_rows_of_that_layout_that_cannot_be_are_told(tmp_path, row, sentence):
    picture(tmp_path / "tiles" / "healthy" / "h.tif")
    with pytest.raises((InputError, FileError), match=sentence):
        training_cases(table(tmp_path / "dataset.csv", [row], ";"), RECIPE)


@pytest.mark.parametrize("deeper", ["", "films"])
def test_folders_named_by_label_in_the_order_of_files(tmp_path, deeper):
    for name in ("pa/2.png", "pa/10.png", "lateral/1.png"):
        picture(tmp_path / deeper / name)
    if deeper:
        picture(tmp_path / "masks" / "pa" / "2.png")
    cases = training_cases(tmp_path, RECIPE)
    assert [case.identifier for case in cases] == ["lateral-1", "pa-10", "pa-2"]
    assert [case.label for case in cases] == ["lateral", "pa", "pa"]


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileError, match=r"data .*absent' does not exist"):
        training_cases(tmp_path / "absent", RECIPE)
    with pytest.raises(InputError, match="must hold a table or at least two folders of images"):
        training_cases(tmp_path, RECIPE)
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("image\n")
    with pytest.raises(InputError, match=r"must have one table, got one.csv, two.csv"):
        training_cases(tmp_path, RECIPE)


def test_missing_labels_masks_columns_and_files_are_told(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    rows = [{"image": "a.png", "label": "x"}, {"image": "b.png", "label": ""}]
    with pytest.raises(InputError, match="every case must have a label, got none for"):
        training_cases(table(tmp_path / "cases.csv", rows), RECIPE)
    with pytest.raises(InputError, match="must have a column 'label' with a value in every row, got none"):
        training_cases(table(tmp_path / "cases.csv", [{"image": "a.png"}]), RECIPE)
    masked = Recipe(task="classification", network="small_cnn_2d", prepare=Prepare(masked=True))
    with pytest.raises(InputError, match="must have a column 'mask'"):
        training_cases(table(tmp_path / "cases.csv", rows[:1]), masked)
    with pytest.raises(InputError, match="must have a column 'image'"):
        training_cases(table(tmp_path / "cases.csv", [{"picture": "x", "label": "1"}]), RECIPE)
    with pytest.raises(FileError, match=r"row 2: image 'c.png' does not exist"):
        training_cases(table(tmp_path / "cases.csv", [{"image": "c.png", "label": "1"}]), RECIPE)
