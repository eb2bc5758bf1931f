"""Names of structures at places in the world."""

import numpy as np
import pytest

from tests.report.made import LPS, attribution, blob, volume
from tests.report.parsed import Parsed
from voxplain.data.nifti import write_nifti
from voxplain.errors import FileError, InputError
from voxplain.report.atlas import read_atlas
from voxplain.report.page import write
from voxplain.space.grid import Grid


@pytest.fixture
def labels(tmp_path):
    """An atlas in 4 mm, LPS: label 7 on the patient's right of x = 20 mm, 9 on the left, a gap of 0 behind."""
    values = np.full((1, 16, 16, 16), 9, np.float32)
    grid = Grid((16, 16, 16), np.array([[-4.0, 0, 0, 60], [0, -4, 0, 60], [0, 0, 4, 0], [0, 0, 0, 1]]))
    values[:, :10] = 7  # x = 60 - 4 i > 20
    values[:, :, 15] = 0
    write_nifti(tmp_path / "atlas.nii.gz", values, grid)
    return tmp_path / "atlas.nii.gz"


def names(tmp_path, text="label,name\n7,Right lobe\n9,Left lobe\n"):
    path = tmp_path / "names.csv"
    path.write_text(text)
    return path


def test_a_place_has_the_name_of_the_nearest_voxels_label(labels, tmp_path):
    atlas = read_atlas(labels, names(tmp_path))
    assert atlas.name_at((40, 30, 30)) == "Right lobe"
    assert atlas.name_at((24.1, 30, 30)) == "Right lobe"
    assert atlas.name_at((21.9, 30, 30)) == "Left lobe"


def test_places_without_a_structure_say_so(labels, tmp_path):
    atlas = read_atlas(labels, names(tmp_path))
    assert atlas.name_at((40, 0, 30)) == "no structure of the atlas"
    assert atlas.name_at((400, 30, 30)) == "outside the atlas"
    assert atlas.name_at((40, 30, -3)) == "outside the atlas"


def test_a_label_without_a_name_is_told_by_its_number(labels):
    assert read_atlas(labels).name_at((40, 30, 30)) == "label 7"


def test_other_names_of_the_columns_are_understood(labels, tmp_path):
    assert read_atlas(labels, names(tmp_path, "\ufeffIndex,x,Structure\n7,1,Lobe\n")).name_at((40, 30, 30)) == "Lobe"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "label,name\nseven,x\n"])
def test_tables_without_labels_and_names_are_refused(labels, tmp_path, text):
    with pytest.raises(InputError, match=r"atlas names 'names.csv' must have"):
        read_atlas(labels, names(tmp_path, text))


def test_files_that_are_not_there_are_one_sentence(labels, tmp_path):
    with pytest.raises(FileError):
        read_atlas(tmp_path / "no.nii.gz")
    with pytest.raises(FileError, match=r"atlas names 'no.csv' cannot be read"):
        read_atlas(labels, tmp_path / "no.csv")


def test_an_image_of_intensities_is_no_atlas(tmp_path):
    image = volume()
    write_nifti(tmp_path / "t1.nii.gz", image.values + 0.5, image.grid)
    with pytest.raises(InputError, match="must hold whole numbers, one label a voxel"):
        read_atlas(tmp_path / "t1.nii.gz")


def test_the_page_names_the_structure_and_says_when_that_is_right(run, labels, tmp_path):
    image = volume()
    run.case(image)
    run.map(attribution(image, blob(image.grid.shape, (14, 12, 8))), image)  # 28 mm to the right of the origin
    text = Parsed(write(run.folder, atlas=read_atlas(labels, names(tmp_path)))).text
    assert "in the right part (Right lobe)" in text
    assert "right only where scan and atlas share one space" in text
    assert "share one space" not in Parsed(write(run.folder)).text


def test_the_side_of_a_mirrored_scan_is_still_the_patients(run, labels, tmp_path):
    image = volume(affine=LPS)  # the same voxel now lies 28 mm to the left, beyond the atlas
    run.case(image)
    run.map(attribution(image, blob(image.grid.shape, (14, 12, 8))), image)
    text = Parsed(write(run.folder, atlas=read_atlas(labels, names(tmp_path)))).text
    assert "Right lobe" not in text
