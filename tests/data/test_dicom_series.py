import warnings

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    MPEG4HP41,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from tests.data.dicom_files import PATIENT, at, known_affine, picture, pretend, save, volume, write_series
from voxplain.data import dicom_series
from voxplain.data.dicom import read_dicom
from voxplain.errors import FileError, InputError, MissingExtra


def test_a_compression_beyond_the_extra_is_named_with_a_package_that_decodes_it(tmp_path):
    if pydicom.pixels.get_decoder(JPEGLosslessSV1).is_available:
        pytest.skip("this environment decodes it")
    told = (
        r"'a.dcm' is compressed as JPEG Lossless.*Process 14.*, which needs a decoder that 'voxplain\[dicom\]' "
        r"does not bring; install one with: pip install python-gdcm"
    )
    with pytest.raises(MissingExtra, match=told):
        read_dicom(save(pretend(picture(volume()[0]), JPEGLosslessSV1), tmp_path / "a.dcm"))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, HTJ2KLossless])
def test_a_compression_of_the_extra_names_the_command_that_installs_it(tmp_path, monkeypatch, syntax):
    class Without:
        is_available = False

    monkeypatch.setattr(dicom_series, "get_decoder", lambda _: Without())
    path = save(pretend(picture(volume()[0]), syntax), tmp_path / "a.dcm")
    with pytest.raises(MissingExtra, match=r"'a.dcm' is compressed as .*pip install 'voxplain\[dicom\]'"):
        read_dicom(path)


def test_a_film_is_refused(tmp_path):
    with pytest.raises(FileError, match="must hold still pictures, got the transfer syntax MPEG-4"):
        read_dicom(save(pretend(picture(volume()[0]), MPEG4HP41), tmp_path / "a.dcm"))


def test_a_file_cut_short_in_its_header_is_named(tmp_path):
    whole = save(picture(volume()[0]), tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "whole.dcm").unlink()
    for length in range(133, whole.index(b"DOE") if b"DOE" in whole else len(whole) - 300, 17):
        (tmp_path / "a.dcm").write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"'a.dcm' must"):
            read_dicom(tmp_path / "a.dcm")


def test_a_slice_of_a_series_that_is_cut_short_is_not_silently_left_out(tmp_path):
    folder = write_series(tmp_path / "series")
    last = folder / "c.dcm" if (folder / "c.dcm").exists() else folder / "a.dcm"
    last.write_bytes(last.read_bytes()[:600])
    with pytest.raises(FileError, match="must be a whole DICOM file"):
        read_dicom(folder)


@pytest.mark.parametrize("content", [b"", b"no image", bytes(200)])
def test_a_file_that_is_no_dicom_is_named(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(FileError, match=r"'a.dcm' must be a DICOM picture, got something else"):
        read_dicom(tmp_path / "a.dcm")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileError, match="'series' does not exist"):
        read_dicom(tmp_path / "series")


def test_a_folder_without_dicom_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FileError, match="must hold DICOM pictures, got none in 1 files"):
        read_dicom(tmp_path)


def test_other_files_in_the_folder_are_left_out_with_a_notice(tmp_path):
    folder = write_series(tmp_path / "series")
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden").write_text("nothing")
    (folder / "deeper").mkdir()
    image = read_dicom(folder)
    assert image.grid.shape[2] == 5
    assert image.notices == ("1 file without a DICOM picture left out",)


def test_objects_without_pixels_are_left_out(tmp_path):
    folder = write_series(tmp_path / "series")
    report = picture(volume()[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", Rows=None, Columns=None)
    del report.PixelData
    save(report, folder / "report.dcm")
    assert read_dicom(folder).notices == ("1 file without a DICOM picture left out",)


def two_series(folder, numbers=(2, 7)):
    write_series(folder, SeriesNumber=numbers[0], SeriesInstanceUID="1.2.3.400001")
    other = write_series(folder.with_name("other"), SeriesNumber=numbers[1], SeriesInstanceUID="1.2.3.400002")
    for file in list(other.iterdir())[:3]:
        file.rename(folder / f"x{file.name}")
    return folder


def test_two_series_are_named_without_their_descriptions(tmp_path):
    with pytest.raises(InputError) as caught:
        read_dicom(two_series(tmp_path / "series"))
    told = str(caught.value)
    assert "must hold one series, got 2: " in told
    assert "2 (CT, 5 pictures, UID ending in 400001)" in told
    assert "7 (CT, 3 pictures, UID ending in 400002)" in told
    assert told.endswith("choose one, such as 'series#2'")
    assert PATIENT not in told


@pytest.mark.parametrize("choice", ["2", "400001"])
def test_a_series_is_chosen_by_number_or_by_the_end_of_its_uid(tmp_path, choice):
    image = read_dicom(two_series(tmp_path / "series"), series=choice)
    assert np.allclose(image.grid.affine, known_affine(), atol=1e-5)


def test_a_number_that_two_series_share_is_told_with_another_way_to_choose(tmp_path):
    folder = two_series(tmp_path / "series", (2, 2))
    with pytest.raises(InputError, match=r"choose one, such as 'series#40000[12]'"):
        read_dicom(folder)
    with pytest.raises(InputError, match=r"must have one series '2', got 2; choose from 2 \(CT, 5 pictures"):
        read_dicom(folder, series="2")


def test_a_series_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match=r"'series' must have one series '9', got 0; choose from 2 \(CT"):
        read_dicom(write_series(tmp_path / "series"), series="9")


@pytest.mark.parametrize("colours", ["RGB", "YBR_FULL", "PALETTE COLOR"])
def test_colour_is_refused(tmp_path, colours):
    header = picture(np.zeros((3, 4), np.uint8), PhotometricInterpretation=colours)
    with pytest.raises(InputError, match=f"'a.dcm' must be grey .* got {colours}"):
        read_dicom(save(header, tmp_path / "a.dcm"))


def test_a_segmentation_is_refused(tmp_path):
    with pytest.raises(InputError, match="got a DICOM segmentation"):
        read_dicom(save(picture(volume()[0], Modality="SEG"), tmp_path / "a.dcm"))


def test_a_series_of_two_kinds_of_pictures_is_refused(tmp_path):
    kinds = ["MONOCHROME1", "MONOCHROME2"]
    folder = write_series(tmp_path / "series", [at(0), at(3)], PhotometricInterpretation=kinds)
    with pytest.raises(InputError, match="pictures of one kind, got CT MONOCHROME1, CT MONOCHROME2"):
        read_dicom(folder)


def test_nothing_about_the_patient_leaves_the_reader(tmp_path):
    folder = write_series(tmp_path / "series")
    image = read_dicom(folder)
    told = repr(image) + image.identifier + repr(image.notices)
    pictures, _ = dicom_series.find_pictures(folder, None)
    told += "".join(str(one.header) for one in pictures)
    for secret in (PATIENT, "Jane", "4711", "19700101", "head of"):
        assert secret not in told


def test_warnings_that_could_quote_the_header_are_kept_back(tmp_path):
    path = tmp_path / "a.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = picture(volume()[0], SeriesInstanceUID="1.2.3.4")
        header.PatientBirthDate = "19700101"
        save(header, path)
    path.write_bytes(path.read_bytes().replace(b"1.2.3.4\x00", b"Doe Jane"))
    assert read_dicom(path).values.shape == (1, 7, 6, 1)


def test_the_identifier_depends_on_the_content_and_not_on_file_names(tmp_path):
    uids = ["1.1", "1.2", "1.3", "1.4", "1.5"]
    one = write_series(tmp_path / "one", SOPInstanceUID=uids)
    two = write_series(tmp_path / "two", SOPInstanceUID=uids)
    for file in list(two.iterdir()):
        file.rename(two / f"Doe_{hash(file.name) % 1000}_{file.name}")
    assert read_dicom(one).identifier == read_dicom(two).identifier
    assert read_dicom(one, identifier="mine").identifier == "mine"


def test_the_real_radiographs_are_six_series_in_one_folder(data_folder):
    with pytest.raises(InputError, match=r"must hold one series, got 6: 1 \(CR, 1 picture, UID ending in"):
        read_dicom(data_folder / "dicom" / "cr-chest")


def test_words_where_a_number_should_stand_are_named(tmp_path):
    path = save(picture(volume()[0]), tmp_path / "a.dcm")
    content = path.read_bytes()
    slope = b"\x28\x00\x53\x10DS\x04\x001.0 "
    assert content.count(slope) == 1
    path.write_bytes(content.replace(slope, slope.replace(b"1.0 ", b"Jane")))
    with pytest.raises(FileError, match=r"'a.dcm' must state RescaleSlope as a number, got something else") as caught:
        _ = read_dicom(path).values
    assert "Jane" not in str(caught.value)
