"""The checks of the example with volumes must see a map that lies wrong."""

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AFFINE = np.array([[-1.2, 0.1, 0, 14], [0.1, 1.2, 0.2, -15], [0, -0.2, 2.4, 3], [0, 0, 0, 1]])
"""Flipped, slightly oblique, anisotropic."""

VALUES = np.random.default_rng(0).normal(100, 20, (9, 8, 7))


def written(path, values=VALUES, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(np.float32(values), affine), path)
    return path


def test_a_map_on_the_image_grid_lies_on_the_image(volumes_example, tmp_path):
    image = written(tmp_path / "image.nii.gz")
    found = volumes_example.lies_on(image, image, written(tmp_path / "map.nii.gz", VALUES[..., None]))
    assert found["share_found_with_their_value"] == 1.0
    assert found["furthest_from_a_voxel_centre"] < 1e-4
    assert found["affine_gap_mm"] < 1e-5
    assert found["map_shape_is_the_image_shape"]


def test_a_mirrored_map_is_seen(volumes_example, tmp_path):
    image = written(tmp_path / "image.nii.gz")
    mirrored = AFFINE.copy()
    mirrored[:3, 3] += mirrored[:3, 0] * 8
    mirrored[:3, 0] *= -1
    found = volumes_example.lies_on(image, image, written(tmp_path / "map.nii.gz", affine=mirrored))
    assert found["share_found_with_their_value"] < 0.3
    assert found["affine_gap_mm"] > 1


def test_a_map_half_a_voxel_off_is_seen(volumes_example, tmp_path):
    image = written(tmp_path / "image.nii.gz")
    moved = AFFINE.copy()
    moved[:3, 3] += moved[:3, 1] / 2
    found = volumes_example.lies_on(image, image, written(tmp_path / "map.nii.gz", affine=moved))
    assert found["furthest_from_a_voxel_centre"] == pytest.approx(0.5, abs=1e-4)


def test_an_image_with_other_voxels_in_the_run_folder_is_seen(volumes_example, tmp_path):
    image, other = written(tmp_path / "image.nii.gz"), written(tmp_path / "shown.nii.gz", VALUES[::-1])
    found = volumes_example.lies_on(image, other, image)
    assert found["share_found_with_their_value"] < 0.3


def dicom_file(path, rows=5, columns=6):
    """One slice: rows run to the patient's left, columns to the back; 2 mm between rows, 3 mm between columns."""
    header = pydicom.Dataset()
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
    header.Rows, header.Columns, header.PixelSpacing = rows, columns, [2, 3]
    header.ImagePositionPatient, header.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 1, 0]
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PixelRepresentation = 1, "MONOCHROME2", 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.RescaleSlope, header.RescaleIntercept = 2, -1000
    header.PixelData = np.arange(rows * columns, dtype=np.uint16).tobytes()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)


def test_dicom_pixels_are_where_their_header_says(volumes_example, tmp_path):
    dicom_file(tmp_path / "a.dcm")
    places, values = volumes_example.voxels_by_header(tmp_path, count=50)
    stored = (values + 1000) / 2
    row, column = np.divmod(stored, 6)
    assert places[:, 0] == pytest.approx(-(10 + 3 * column))
    assert places[:, 1] == pytest.approx(-(20 + 2 * row))
    assert places[:, 2] == pytest.approx(30)


def test_a_map_that_grows_with_the_image_fits_best_as_written(volumes_example):
    picture = np.random.default_rng(1).random((12, 12, 12))
    signs = np.random.default_rng(2).choice([-1, 1], picture.shape)
    found = volumes_example.follows(picture * signs, picture)
    assert found["as_written"] == pytest.approx(1)
    assert max(value for name, value in found.items() if name != "as_written") < 0.3


def test_each_axis_is_mirrored_and_moved_on_its_own(volumes_example):
    picture = np.random.default_rng(1).random((12, 10, 8))
    assert volumes_example.follows(picture[:, ::-1], picture)["mirrored_j"] == pytest.approx(1)
    assert volumes_example.follows(np.roll(picture, -2, 2), picture)["shifted_k"] == pytest.approx(1)
