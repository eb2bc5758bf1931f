import importlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.data.dicom_files import at, compressed, known_affine, picture, pretend, save, volume, write_series
from voxplain.data.dicom import read_dicom
from voxplain.errors import FileError, InputError


def test_every_slice_has_its_own_slope_and_intercept(tmp_path):
    slopes, intercepts = [1.0, 2.0, 0.5, 3.0, 1.5], [0.0, -10.0, 4.0, 7.0, -1024.0]
    image = read_dicom(write_series(tmp_path / "series", RescaleSlope=slopes, RescaleIntercept=intercepts))
    truth = volume() * np.reshape(slopes, (5, 1, 1)) + np.reshape(intercepts, (5, 1, 1))
    assert np.array_equal(image.values[0], truth.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("attributes", "unit"),
    [
        ({}, "HU"),
        ({"RescaleType": "HU"}, "HU"),
        ({"RescaleType": "Z_EFF"}, "a.u."),
        ({"Modality": "MR"}, "a.u."),
        ({"Modality": "PT", "Units": "BQML"}, "Bq/ml"),
    ],
)
def test_the_unit_is_what_the_header_says(tmp_path, attributes, unit):
    assert read_dicom(save(picture(volume()[0], **attributes), tmp_path / "a.dcm")).unit == unit


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_monochrome1_becomes_dark_to_bright(tmp_path, dtype):
    stored = np.arange(12).reshape(3, 4).astype(dtype)
    header = picture(stored, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2.0, RescaleIntercept=5.0)
    image = read_dicom(save(header, tmp_path / "a.dcm"))
    top = np.iinfo(dtype).max + np.iinfo(dtype).min
    assert np.array_equal(image.values[0, :, :, 0], 2.0 * (top - stored.T.astype(float)) + 5.0)
    assert "inverted" in image.notices[0]


def test_monochrome1_turns_round_the_bits_that_are_stored(tmp_path):
    stored = np.array([[0, 4095]], dtype=np.uint16)
    header = picture(stored, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    assert read_dicom(save(header, tmp_path / "a.dcm")).values.ravel().tolist() == [4095.0, 0.0]


def test_a_table_in_the_header_is_applied(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 0, 16], "US"
    table.add_new("LUTData", "US", [10, 40, 20, 80])
    header = picture(np.array([[0, 1, 2, 3]], dtype=np.uint8), RescaleSlope=None, RescaleIntercept=None)
    header.ModalityLUTSequence = [table]
    assert read_dicom(save(header, tmp_path / "a.dcm")).values.ravel().tolist() == [10, 40, 20, 80]


def test_padding_takes_the_smallest_other_value_of_the_series(tmp_path):
    stored = volume(2) + 100
    stored[0, 0, 0] = stored[1, 2, 3] = -1500
    folder = write_series(
        tmp_path / "series", [at(0), at(3)], stored, PixelPaddingValue=-1500, RescaleIntercept=-1024.0
    )
    image = read_dicom(folder)
    assert image.values[0, 0, 0, 0] == image.values[0, 3, 2, 1] == 101 - 1024
    assert image.values.min() == 101 - 1024
    assert image.notices == ("pixels stored as padding (-1500) take the smallest other value",)


def test_without_a_padding_value_in_the_header_every_number_stays(tmp_path):
    stored = np.array([[-1500, 7]], dtype=np.int16)
    assert read_dicom(save(picture(stored), tmp_path / "a.dcm")).values.ravel().tolist() == [-1500, 7]


def test_a_range_of_padding_is_honoured(tmp_path):
    stored = np.array([[-1500, -1400, -1200, 7]], dtype=np.int16)
    header = picture(stored, PixelPaddingValue=-1500, PixelPaddingRangeLimit=-1300)
    assert read_dicom(save(header, tmp_path / "a.dcm")).values.ravel().tolist() == [-1200, -1200, -1200, 7]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_slices_are_the_same_as_plain_ones(tmp_path, syntax):
    header = compressed(picture(np.random.default_rng(0).integers(0, 4000, (64, 80)).astype(np.uint16)), syntax)
    truth = header.pixel_array
    image = read_dicom(save(header, tmp_path / "a.dcm"))
    assert np.array_equal(image.values[0, :, :, 0], truth.T)


def test_broken_compressed_pixels_are_named_when_they_are_used(tmp_path):
    path = save(pretend(picture(volume()[0]), JPEG2000Lossless), tmp_path / "a.dcm")
    with pytest.raises(FileError, match=r"'a.dcm' must hold whole pixels, got some that cannot be decoded"):
        _ = read_dicom(path).values


@pytest.mark.parametrize("keep", [0.95, 0.6])
def test_a_file_cut_short_is_named(tmp_path, keep):
    whole = save(picture(np.zeros((64, 64), np.int16)), tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(FileError, match=r"'a.dcm' must hold whole pixels"):
        _ = read_dicom(tmp_path / "a.dcm").values


def radiograph(**attributes):
    plain = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None, "Modality": "CR"}
    return picture(np.arange(12, dtype=np.uint8).reshape(3, 4), **{**plain, **attributes})


@pytest.mark.parametrize(
    ("attributes", "unit", "spacing"),
    [
        ({"ImagerPixelSpacing": [0.3, 0.2]}, "detector mm", (0.2, 0.3, 1.0)),
        ({"ImagerPixelSpacing": [0.3, 0.2], "PixelSpacing": [0.3, 0.2]}, "detector mm", (0.2, 0.3, 1.0)),
        ({"ImagerPixelSpacing": [0.3, 0.2], "PixelSpacing": [0.27, 0.18]}, "mm", (0.18, 0.27, 1.0)),
        (
            {"ImagerPixelSpacing": [0.3, 0.2], "PixelSpacing": [0.3, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"},
            "mm",
            (0.2, 0.3, 1.0),
        ),
        ({"PixelSpacing": [0.3, 0.2]}, "mm", (0.2, 0.3, 1.0)),
        ({}, "px", (1.0, 1.0, 1.0)),
    ],
)
def test_a_radiographs_spacing_is_the_detectors_unless_it_was_calibrated(tmp_path, attributes, unit, spacing):
    grid = read_dicom(save(radiograph(**attributes), tmp_path / "a.dcm")).grid
    assert grid.unit == unit
    assert grid.spacing == pytest.approx(spacing)
    assert grid.shape == (4, 3, 1)


@pytest.mark.parametrize(
    ("attributes", "orientation", "told"),
    [
        ({"PatientOrientation": ["P", "F"]}, "PIR", 0),
        ({"PatientOrientation": ["L", "F"], "ViewPosition": "LL"}, "LIP", 0),
        ({"ViewPosition": "PA"}, "LIP", 1),
        ({"ViewPosition": "LL"}, "LPS", 1),
        ({}, "LPS", 1),
    ],
)
def test_a_radiographs_axes_come_from_its_letters_or_are_assumed_with_a_notice(tmp_path, attributes, orientation, told):
    image = read_dicom(save(radiograph(**attributes), tmp_path / "a.dcm"))
    assert image.grid.orientation == orientation
    assert len(image.notices) == told


def test_pictures_without_positions_are_no_stack(tmp_path):
    for name in "ab":
        save(radiograph(), tmp_path / f"{name}.dcm")
    with pytest.raises(InputError, match="must have a position for every picture, got none for 2 of 2 pictures"):
        read_dicom(tmp_path)


def test_a_spacing_of_nought_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'a.dcm' must have a pixel spacing above 0"):
        read_dicom(save(radiograph(PixelSpacing=[0, 0]), tmp_path / "a.dcm"))


def test_a_slice_without_spacing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'a.dcm' must state its pixel spacing"):
        read_dicom(save(picture(volume()[0], PixelSpacing=None), tmp_path / "a.dcm"))


def enhanced(positions):
    """A multi-frame object in the way of Enhanced CT: geometry in functional groups, not at the top."""

    def group(sequence, **attributes):
        inner, outer = Dataset(), Dataset()
        for keyword, value in attributes.items():
            setattr(inner, keyword, value)
        setattr(outer, sequence, [inner])
        return outer

    base = picture(volume()[0])
    header = picture(
        volume(), SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1", NumberOfFrames=5, ImagePositionPatient=None,
        ImageOrientationPatient=None, PixelSpacing=None, RescaleSlope=None, RescaleIntercept=None,
    )  # fmt: skip
    shared = group("PixelMeasuresSequence", PixelSpacing=base.PixelSpacing, SliceThickness=3.0)
    shared.update(group("PlaneOrientationSequence", ImageOrientationPatient=base.ImageOrientationPatient))
    header.SharedFunctionalGroupsSequence = [shared]
    frames = [group("PlanePositionSequence", ImagePositionPatient=position) for position in positions]
    for n, frame in enumerate(frames):
        frame.update(group("PixelValueTransformationSequence", RescaleSlope=n + 1.0, RescaleIntercept=-n * 1.0))
    header.PerFrameFunctionalGroupsSequence = frames
    return header


def test_frames_of_an_enhanced_object_are_slices_where_their_groups_say(tmp_path):
    order = [3, 0, 4, 1, 2]
    image = read_dicom(save(enhanced([at(3.0 * n) for n in order]), tmp_path / "a.dcm"))
    assert np.allclose(image.grid.affine, known_affine(), atol=1e-5)
    for frame, place in enumerate(order):
        truth = volume()[frame].T * (frame + 1.0) - frame
        assert np.array_equal(image.values[0, :, :, place], truth)


def test_frames_are_named_by_number(tmp_path):
    with pytest.raises(InputError, match=r"one position \('a.dcm frame 2' and 'a.dcm frame 3'\)"):
        read_dicom(save(enhanced([at(depth) for depth in (0, 3, 3, 6, 9)]), tmp_path / "a.dcm"))


def test_frames_without_positions_are_refused(tmp_path):
    header = picture(volume(), NumberOfFrames=5, ImagePositionPatient=None, ImageOrientationPatient=None)
    with pytest.raises(InputError, match="got none for 5 of 5 pictures"):
        read_dicom(save(header, tmp_path / "a.dcm"))


def test_pixels_are_read_when_they_are_used(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "series")
    module = importlib.import_module("voxplain.data.dicom")
    calls = []
    original = module.pixel_array
    monkeypatch.setattr(module, "pixel_array", lambda *a, **k: calls.append(a) or original(*a, **k))
    image = read_dicom(folder)
    assert calls == []
    assert image.values.shape == (1, 7, 6, 5)
    assert len(calls) == 5


def test_the_real_monochrome1_radiograph_looks_like_the_others(data_folder):
    folder = data_folder / "dicom" / "cr-chest"
    image = read_dicom(folder / "pa_00003709_007.dcm")
    stored = pydicom.dcmread(folder / "pa_00003709_007.dcm").pixel_array
    assert np.array_equal(image.values[0, :, :, 0], 255.0 - stored.T)
    # The mediastinum in the middle is bright, the lung beside it dark.
    assert image.values[0, 256, 200:300].mean() > image.values[0, 150, 200:300].mean()
    assert (image.grid.unit, image.grid.orientation) == ("detector mm", "LIP")
