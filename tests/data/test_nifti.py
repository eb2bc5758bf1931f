import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from voxplain.data.nifti import content_id, read_nifti, write_nifti
from voxplain.errors import FileError, InputError
from voxplain.space.grid import Grid

TURN = np.linalg.qr(np.array([[1.0, 0.2, -0.1], [0.1, 1.0, 0.3], [0.0, -0.2, 1.0]]))[0]
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = TURN * [0.5, 1.25, 3.0]
OBLIQUE[:3, 3] = [-31.0, 12.5, 77.0]


def saved(path: Path, values: np.ndarray, affine: np.ndarray = OBLIQUE, dtype: type = np.float32) -> Path:
    nib.Nifti1Image(values.astype(dtype), affine).to_filename(path)
    return path


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_reads_voxels_and_an_oblique_anisotropic_affine_as_nibabel_gives_them(tmp_path, suffix):
    path = saved(tmp_path / f"scan{suffix}", numbered(4, 5, 6))
    image = read_nifti(path)
    assert np.array_equal(image.values, numbered(4, 5, 6)[None])
    assert np.array_equal(image.grid.affine, nib.load(path).affine)
    assert image.grid.unit == "mm"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_keeps_every_orientation(tmp_path, order, signs):
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) * [1.0, 2.0, 3.0])[:, order]
    image = read_nifti(saved(tmp_path / "scan.nii", numbered(2, 3, 4), affine))
    assert image.grid.orientation == "".join(nib.aff2axcodes(affine))
    assert np.array_equal(image.grid.affine, affine)


def test_keeps_a_sheared_affine(tmp_path):
    sheared = OBLIQUE.copy()
    sheared[:3, 2] += [0.0, 1.0, 0.0]
    image = read_nifti(saved(tmp_path / "scan.nii", numbered(2, 3, 4), sheared))
    assert np.allclose(image.grid.affine, sheared, atol=1e-6)


def test_the_fourth_axis_becomes_channels(tmp_path):
    image = read_nifti(saved(tmp_path / "scan.nii", numbered(2, 3, 4, 5)))
    assert image.channels == ("channel0", "channel1", "channel2", "channel3", "channel4")
    assert np.array_equal(image.values[3], numbered(2, 3, 4, 5)[..., 3])


def test_a_vector_axis_behind_a_lone_time_point_becomes_channels(tmp_path):
    image = read_nifti(saved(tmp_path / "scan.nii", numbered(2, 3, 4, 1, 3)))
    assert np.array_equal(image.values[2], numbered(2, 3, 4, 1, 3)[..., 0, 2])


def test_a_flat_file_becomes_a_grid_of_depth_one(tmp_path):
    image = read_nifti(saved(tmp_path / "scan.nii", numbered(4, 5), np.diag([2.0, 3.0, 1.0, 1.0])))
    assert image.grid.shape == (4, 5, 1)
    assert np.array_equal(image.values[0, :, :, 0], numbered(4, 5))


def test_a_flat_file_with_an_empty_third_axis_is_read(tmp_path):
    file = nib.Nifti1Image(numbered(4, 5), np.eye(4))
    file.header["sform_code"] = 1
    file.header["srow_x"], file.header["srow_y"], file.header["srow_z"] = [2, 0, 0, 1], [0, 3, 0, 1], [0, 0, 0, 1]
    (tmp_path / "scan.nii").write_bytes(file.header.binaryblock + bytes(4) + numbered(4, 5).tobytes(order="F"))
    assert read_nifti(tmp_path / "scan.nii").grid.spacing[:2] == (2.0, 3.0)


def test_more_than_one_axis_beyond_space_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'scan.nii' must have two or three axes and one of channels"):
        read_nifti(saved(tmp_path / "scan.nii", numbered(2, 3, 4, 2, 3)))


def test_applies_the_scale_factor(tmp_path):
    file = nib.Nifti1Image(np.array([[[0, 100, -50]]], dtype=np.int16), np.eye(4))
    file.header.set_slope_inter(0.25, -3.0)
    file.to_filename(tmp_path / "scan.nii")
    assert read_nifti(tmp_path / "scan.nii").values.ravel().tolist() == [-3.0, 22.0, -15.5]


def test_reads_voxels_only_when_they_are_used(tmp_path):
    path = saved(tmp_path / "scan.nii", numbered(4, 5, 6))
    image = read_nifti(path)
    saved(path, numbered(4, 5, 6) + 1)
    assert image.values[0, 0, 0, 0] == 1


def test_does_not_follow_a_file_that_changes_after_it_was_read(tmp_path):
    path = saved(tmp_path / "scan.nii", numbered(4, 5, 6))
    values = read_nifti(path).values
    path.write_bytes(bytes(path.stat().st_size))
    assert values.max() == 119


def test_lengths_in_micrometres_become_millimetres(tmp_path):
    affine = np.diag([50.0, 50.0, 100.0, 1.0])
    affine[:3, 3] = 2000.0
    file = nib.Nifti1Image(numbered(2, 2, 2), affine)
    file.header.set_xyzt_units("micron")
    file.to_filename(tmp_path / "scan.nii")
    image = read_nifti(tmp_path / "scan.nii")
    assert np.allclose(image.grid.spacing, (0.05, 0.05, 0.1))
    assert np.allclose(image.grid.affine[:3, 3], 2.0)
    assert "millimetres" in image.notices[0]


def test_says_when_no_orientation_is_stated(tmp_path):
    file = nib.Nifti1Image(numbered(2, 3, 4), None)
    file.to_filename(tmp_path / "scan.nii")
    image = read_nifti(tmp_path / "scan.nii")
    assert "no orientation" in image.notices[0]
    assert np.array_equal(image.grid.affine, nib.load(tmp_path / "scan.nii").affine)


def test_values_beyond_float32_become_infinite_and_are_left_to_the_check(tmp_path):
    image = read_nifti(saved(tmp_path / "scan.nii", np.array([[[1e300, 0.0]]]), dtype=np.float64))
    assert np.isinf(image.values).sum() == 1


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_complex_and_colour_voxels_are_refused(tmp_path, dtype):
    nib.Nifti1Image(np.zeros((2, 2, 2), dtype=dtype), np.eye(4)).to_filename(tmp_path / "scan.nii")
    with pytest.raises(InputError, match=r"'scan.nii' must hold one real number a voxel"):
        read_nifti(tmp_path / "scan.nii")


@pytest.mark.parametrize("content", [b"", b"no image at all", bytes(400), b"\x1f\x8b" + bytes(30)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_that_is_no_image_is_named(tmp_path, content, suffix):
    (tmp_path / f"scan{suffix}").write_bytes(content)
    with pytest.raises(FileError, match=f"'scan{suffix}' must be a NIfTI file"):
        read_nifti(tmp_path / f"scan{suffix}")


def test_another_format_that_nibabel_knows_is_refused(tmp_path):
    nib.MGHImage(numbered(2, 2, 2), np.eye(4)).to_filename(tmp_path / "scan.mgz")
    with pytest.raises(FileError, match="must be a NIfTI file"):
        read_nifti(tmp_path / "scan.mgz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"'scan.nii' does not exist"):
        read_nifti(tmp_path / "scan.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_cut_short_is_named_when_it_is_used(tmp_path, suffix):
    whole = saved(tmp_path / f"whole{suffix}", np.random.default_rng(0).normal(size=(9, 9, 9))).read_bytes()
    (tmp_path / f"scan{suffix}").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(FileError, match=f"'scan{suffix}' must be a whole NIfTI file"):
        _ = read_nifti(tmp_path / f"scan{suffix}").values


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_promises_too_much_is_refused_before_memory_is_asked_for(tmp_path, suffix):
    path = saved(tmp_path / "scan.nii", numbered(2, 2, 2))
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([30000, 30000, 30000], dtype=np.int16).tobytes()
    (tmp_path / f"scan{suffix}").write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    with pytest.raises(FileError, match=f"'scan{suffix}' must be a whole NIfTI file"):
        read_nifti(tmp_path / f"scan{suffix}")


def test_black_volumes_may_be_packed_tightly(tmp_path):
    assert read_nifti(saved(tmp_path / "scan.nii.gz", np.zeros((100, 100, 100)))).values.max() == 0


def test_a_singular_affine_is_told_with_the_file(tmp_path):
    file = nib.Nifti1Image(numbered(2, 2, 2), np.eye(4))
    file.header["sform_code"], file.header["srow_z"] = 1, [0, 0, 0, 0]
    (tmp_path / "scan.nii").write_bytes(file.header.binaryblock + bytes(4) + numbered(2, 2, 2).tobytes())
    with pytest.raises(InputError, match=r"'scan.nii': affine must have three independent axes"):
        read_nifti(tmp_path / "scan.nii")


def test_the_identifier_depends_on_the_content_and_not_on_the_name(tmp_path):
    one = saved(tmp_path / "Doe_Jane.nii", numbered(2, 2, 2))
    two = saved(tmp_path / "other.nii", numbered(2, 2, 2))
    assert read_nifti(one).identifier == read_nifti(two).identifier == content_id(one)
    assert read_nifti(one).identifier != read_nifti(saved(two, numbered(2, 2, 2) + 1)).identifier
    assert read_nifti(one, identifier="mine").identifier == "mine"


def test_the_identifier_of_several_files_does_not_depend_on_their_order(tmp_path):
    one, two = saved(tmp_path / "a.nii", numbered(2, 2, 2)), saved(tmp_path / "b.nii", numbered(2, 2, 3))
    assert content_id(one, two) == content_id(two, one) != content_id(one)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_written_comes_back(tmp_path, suffix, count):
    values = np.random.default_rng(1).normal(size=(count, 3, 4, 5)).astype(np.float32)
    grid = Grid((3, 4, 5), OBLIQUE)
    write_nifti(tmp_path / f"map{suffix}", values, grid)
    back = read_nifti(tmp_path / f"map{suffix}")
    assert np.array_equal(back.values, values)
    assert back.grid.same_as(grid)
    assert back.notices == ()


def test_channels_are_the_fourth_axis_of_the_file(tmp_path):
    write_nifti(tmp_path / "map.nii", numbered(2, 3, 4, 5), Grid((3, 4, 5), OBLIQUE))
    assert nib.load(tmp_path / "map.nii").shape == (3, 4, 5, 2)


def test_qform_and_sform_state_the_same_affine(tmp_path):
    write_nifti(tmp_path / "map.nii", numbered(3, 4, 5), Grid((3, 4, 5), OBLIQUE))
    file = nib.load(tmp_path / "map.nii")
    assert (int(file.header["qform_code"]), int(file.header["sform_code"])) == (1, 1)
    assert np.allclose(file.get_qform(), OBLIQUE, atol=1e-4)
    assert np.allclose(file.get_sform(), OBLIQUE, atol=1e-4)


def test_a_sheared_affine_is_not_misstated_as_a_qform(tmp_path):
    sheared = OBLIQUE.copy()
    sheared[:3, 2] += [0.0, 1.0, 0.0]
    write_nifti(tmp_path / "map.nii", numbered(3, 4, 5), Grid((3, 4, 5), sheared))
    file = nib.load(tmp_path / "map.nii")
    assert int(file.header["qform_code"]) == 0
    assert np.allclose(file.affine, sheared, atol=1e-4)


def test_whole_numbers_are_written_as_such(tmp_path):
    write_nifti(tmp_path / "mask.nii", numbered(3, 4, 5), Grid((3, 4, 5)), dtype=np.uint8)
    assert nib.load(tmp_path / "mask.nii").get_data_dtype() == np.uint8
    assert read_nifti(tmp_path / "mask.nii").values.max() == 59


@pytest.mark.parametrize("wrong", [0.5, 256.0, -1.0, np.nan])
def test_values_that_do_not_fit_the_type_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(InputError, match="must be whole numbers that fit uint8"):
        write_nifti(tmp_path / "mask.nii", np.full((2, 2, 2), wrong), Grid((2, 2, 2)), dtype=np.uint8)
    assert list(tmp_path.iterdir()) == []


def test_values_off_the_grid_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"values are \(2, 2, 3\) but the grid is \(2, 2, 2\)"):
        write_nifti(tmp_path / "map.nii", numbered(2, 2, 3), Grid((2, 2, 2)))


def test_equal_maps_are_equal_bytes_that_hold_no_name(tmp_path):
    for name in ("Doe_Jane.nii.gz", "other.nii.gz"):
        write_nifti(tmp_path / name, numbered(3, 4, 5), Grid((3, 4, 5)))
    one, two = ((tmp_path / name).read_bytes() for name in ("Doe_Jane.nii.gz", "other.nii.gz"))
    assert one == two
    assert one[4:8] == bytes(4), "the gzip header must hold no time"
    assert b"Doe" not in one + gzip.decompress(one)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = saved(tmp_path / "map.nii.gz", numbered(2, 2, 2))
    before = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nib.Nifti1Image, "to_stream", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_nifti(path, numbered(3, 4, 5), Grid((3, 4, 5)))
    assert [file.name for file in tmp_path.iterdir()] == ["map.nii.gz"]
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "map.nii").mkdir()
    with pytest.raises(FileError, match=r"cannot write 'map.nii'"):
        write_nifti(tmp_path / "map.nii", numbered(2, 2, 2), Grid((2, 2, 2)))


def test_axes_beyond_nifti_1_are_written_as_nifti_2(tmp_path):
    write_nifti(tmp_path / "map.nii", np.zeros((40000, 1, 1)), Grid((40000, 1, 1)))
    assert isinstance(nib.load(tmp_path / "map.nii"), nib.Nifti2Image)
    assert read_nifti(tmp_path / "map.nii").grid.shape == (40000, 1, 1)


def test_a_picture_in_pixels_keeps_its_affine(tmp_path):
    grid = Grid((3, 4, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
    write_nifti(tmp_path / "map.nii", numbered(3, 4, 1), grid)
    back = read_nifti(tmp_path / "map.nii")
    assert np.array_equal(back.grid.affine, grid.affine)
    assert np.array_equal(back.values[0], numbered(3, 4, 1))


def test_reads_a_real_volume_as_nibabel_does(data_folder):
    path = data_folder / "mri-3d" / "organs" / "ct.nii.gz"
    file, image = nib.load(path), read_nifti(path)
    assert np.array_equal(image.values[0], np.asarray(file.dataobj, dtype=np.float32))
    assert np.array_equal(image.grid.affine, file.affine)
