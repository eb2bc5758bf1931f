import csv
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.data.dicom_files import write_series
from voxplain.data.case import read_cases
from voxplain.data.load import load_image
from voxplain.errors import FileError, InputError


def png(path: Path, value: int) -> Path:
    PIL.Image.fromarray(np.full((3, 4), value, np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three pictures and a mask; the table stands beside the folder of pictures."""
    (tmp_path / "images").mkdir()
    for n in range(3):
        png(tmp_path / "images" / f"p{n}.png", n)
    png(tmp_path / "images" / "mask.png", 255)
    return tmp_path


def table(folder: Path, columns: list[str], *rows: list[str], delimiter: str = ",") -> Path:
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([columns, *rows])
    return folder / "cases.csv"


def test_a_row_is_a_case_with_all_it_says(folder):
    columns = ["id", "image", "mask", "label", "group", "split", "target", "slice"]
    row = ["case 1", "images/p1.png", "images/mask.png", "glioma", "pat7", "test", "class_score(2)", "0"]
    (case,) = read_cases(table(folder, columns, row))
    told = (case.identifier, case.label, case.group, case.split, case.target, case.slice)
    assert told == ("case 1", "glioma", "pat7", "test", "class_score(2)", 0)
    assert case.image.identifier == "case 1"
    assert case.image.values.max() == 1
    assert case.mask.values.max() == 1
    assert case.mask.grid.same_as(case.image.grid)


def test_what_a_row_leaves_open_is_none(folder):
    rows = [["images/p0.png", "", "", ""], ["images/p1.png", "images/mask.png", "x", "1"]]
    first, second = read_cases(table(folder, ["image", "mask", "label", "slice"], *rows))
    assert (first.mask, first.label, first.slice) == (None, None, None)
    assert (second.label, second.slice) == ("x", 1)


def test_without_an_id_the_content_names_the_case(folder):
    (case,) = read_cases(table(folder, ["image"], ["images/p1.png"]))
    assert case.identifier == load_image(folder / "images" / "p1.png").identifier
    assert len(case.identifier) == 12


def test_slices_of_one_file_are_different_cases(folder):
    np.save(folder / "scan.npy", np.zeros((4, 4, 4)))
    cases = read_cases(table(folder, ["image", "slice"], ["scan.npy", "1"], ["scan.npy", "3"]))
    assert [case.identifier[12:] for case in cases] == ["-slice1", "-slice3"]


def test_columns_of_image_files_are_channels_and_others_are_not(folder):
    columns = ["flair", "age", "t1", "group"]
    (case,) = read_cases(table(folder, columns, ["images/p1.png", "45", "images/p2.png", "images/p0.png"]))
    assert case.image.channels == ("flair", "t1")
    assert case.image.values[:, 0, 0, 0].tolist() == [1, 2]
    assert case.group == "images/p0.png"


def test_a_folder_named_like_a_label_is_no_channel(folder):
    (folder / "glioma").mkdir()
    (case,) = read_cases(table(folder, ["file", "kind"], ["images/p1.png", "glioma"]))
    assert case.image.channels == ("file",)


def test_a_dicom_folder_is_an_image(folder):
    write_series(folder / "series")
    (case,) = read_cases(table(folder, ["image"], ["series"]))
    assert case.image.grid.shape == (7, 6, 5)


def test_with_a_column_image_no_other_column_is_a_channel(folder):
    (case,) = read_cases(table(folder, ["image", "earlier"], ["images/p1.png", "images/p2.png"]))
    assert case.image.channels == ("image",)


def test_capitals_do_not_make_a_mask_a_channel(folder):
    (case,) = read_cases(table(folder, ["Image", "Mask"], ["images/p1.png", "images/mask.png"]))
    assert case.image.channels == ("image",)
    assert case.mask is not None


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_usual_separators_are_understood(folder, delimiter):
    path = table(folder, ["id", "image"], ["a", "images/p1.png"], delimiter=delimiter)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    (case,) = read_cases(path)
    assert case.identifier == "a"


def test_voxels_are_read_when_they_are_used(folder):
    (case,) = read_cases(table(folder, ["image"], ["images/p1.png"]))
    png(folder / "images" / "p1.png", 77)
    assert case.image.values.max() == 77


REFUSED = {
    "a missing file": (["image"], [["images/p0.png"], ["images/p9.png"]], r"row 3: image 'images/p9.png' does not"),
    "a missing mask": (["image", "mask"], [["images/p0.png", "m.png"]], r"row 2: mask 'm.png' does not exist"),
    "a missing channel": (["t1", "t2"], [["images/p0.png", "images/p1.png"], ["images/p0.png", "no.png"]],
                          r"row 3: t2 'no.png' does not exist"),
    "an empty cell": (["t1", "t2"], [["images/p0.png", "images/p1.png"], ["images/p0.png", ""]],
                      r"row 3: column 't2' must name a file, got nothing"),
    "a doubled id": (["id", "image"], [["a", "images/p0.png"], ["b", "images/p1.png"], ["a", "images/p2.png"]],
                     r"must have a different id in every row, got 'a' in rows 2 and 4$"),
    "a doubled file": (["image"], [["images/p0.png"], ["images/p0.png"]], r"in rows 2 and 3 \(the same file\); give"),
    "an id that leads elsewhere": (["id", "image"], [["../a", "images/p0.png"]], r"row 2: id must do as the name of a"),
    "a slice in words": (["image", "slice"], [["images/p0.png", "two"]], r"row 2: slice must be a whole number from 0"),
    "a slice below nought": (["image", "slice"], [["images/p0.png", "-1"]], r"row 2: slice must be a whole number"),
    "no image": (["id", "age"], [["a", "4"]], r"must have a column 'image' or columns of image files, got id, age"),
    "no row": (["image"], [], r"must have a header and at least one row"),
    "empty rows": (["image"], [[""], [""]], r"must have a header and at least one row"),
    "a doubled column": (["image", "image"], [["a", "b"]], r"must name every column once, got 'image' twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_table_is_refused_with_its_row(folder, case):
    columns, rows, sentence = REFUSED[case]
    with pytest.raises((InputError, FileError), match=sentence) as caught:
        read_cases(table(folder, columns, *rows))
    assert "'cases.csv'" in str(caught.value)


def test_an_image_that_cannot_be_read_is_told_with_its_row(folder):
    (folder / "broken.png").write_bytes(b"nothing")
    with pytest.raises(FileError, match=r"'cases.csv' row 2: 'broken.png' must be a PNG"):
        read_cases(table(folder, ["image"], ["broken.png"]))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileError, match=r"cases.csv' does not exist"):
        read_cases(tmp_path / "cases.csv")


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "cases.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(FileError, match=r"'cases.csv' must be a table in UTF-8 text"):
        read_cases(tmp_path / "cases.csv")


def test_an_empty_table_is_named(tmp_path):
    (tmp_path / "cases.csv").write_text("")
    with pytest.raises(InputError, match=r"'cases.csv' must have a header and at least one row"):
        read_cases(tmp_path / "cases.csv")


def test_a_real_table_of_slices_is_read(data_folder):
    cases = read_cases(data_folder / "brain-tumor-2d" / "labels.csv")
    assert len(cases) == 900
    assert {case.label for case in cases} == {"glioma", "meningioma", "pituitary"}
    assert cases[0].image.channels == ("file",)
    assert cases[0].mask.values.max() == 1
