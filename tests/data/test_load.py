import nibabel as nib
import numpy as np
import PIL.Image
import pytest

from tests.data.dicom_files import at, picture, save, volume, write_series
from voxplain.data.load import image_kind, load_image, load_mask, split_choice
from voxplain.errors import FileError, InputError
from voxplain.space.grid import Grid

AFFINE = np.diag([-1.0, 2.0, 3.0, 1.0])
AFFINE[:3, 3] = [10.0, -5.0, 2.0]


def nifti(path, values, affine=AFFINE, dtype=np.float32):
    nib.Nifti1Image(np.asarray(values).astype(dtype), affine).to_filename(path)
    return path


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def png(path, pixels):
    PIL.Image.fromarray(np.asarray(pixels).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.png", "a.jpg", "a.tiff", "a.npy", "a.dcm", "series"])
def test_every_kind_of_file_is_read(tmp_path, name):
    path = tmp_path / name
    match name.partition(".")[2]:
        case "nii" | "nii.gz":
            nifti(path, numbered(4, 5, 6))
        case "npy":
            np.save(path, numbered(4, 5, 6))
        case "dcm":
            save(picture(volume()[0]), path)
        case "":
            write_series(path)
        case _:
            png(path, numbered(4, 5))
    image = load_image(str(path))
    assert image.values.size > 0
    assert len(image.identifier) == 12


@pytest.mark.parametrize("name", ["1.2.840.113619.2", "IM0001", "scan.bin"])
def test_dicom_is_known_by_its_content(tmp_path, name):
    assert load_image(save(picture(volume()[0]), tmp_path / name)).unit == "HU"


@pytest.mark.parametrize(("name", "kind"), [("a.png", "raster"), ("a.tif", "raster"), ("a.jpg", "raster")])
def test_a_picture_without_its_ending_is_known_by_its_content(tmp_path, name, kind):
    png(tmp_path / name, numbered(4, 5)).rename(tmp_path / "picture")
    assert image_kind(tmp_path / "picture") == kind


def test_capital_endings_are_understood(tmp_path):
    nifti(tmp_path / "a.nii", numbered(2, 2, 2)).rename(tmp_path / "A.NII")
    assert load_image(tmp_path / "A.NII").grid.shape == (2, 2, 2)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "a.dcm", "a.npy", "a", "a.txt"])
def test_an_empty_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileError, match=f"'{name}' must be an image, got an empty file"):
        load_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "a.dcm", "a.npy", "a", "a.txt"])
def test_a_file_that_is_no_image_is_named(tmp_path, name):
    (tmp_path / name).write_text("words " * 100)
    with pytest.raises(FileError, match=f"'{name}' must be "):
        load_image(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"a.nii' does not exist"):
        load_image(tmp_path / "a.nii")


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FileError, match=r"must hold DICOM pictures, got none; name a file"):
        load_image(tmp_path)


def test_a_series_is_chosen_by_its_number(tmp_path):
    folder = write_series(tmp_path / "both", SeriesNumber=2, SeriesInstanceUID="1.1")
    for file in write_series(tmp_path / "other", SeriesNumber=3, SeriesInstanceUID="1.2").iterdir():
        file.rename(folder / f"x{file.name}")
    with pytest.raises(InputError, match=r"choose one, such as 'both#2'"):
        load_image(folder)
    assert load_image(f"{folder}#3").grid.shape == (7, 6, 5)


def test_a_frame_is_chosen_by_its_number(tmp_path):
    frames = [PIL.Image.fromarray(np.full((3, 4), n, np.uint8)) for n in range(3)]
    frames[0].save(tmp_path / "stack.tif", save_all=True, append_images=frames[1:])
    assert load_image(f"{tmp_path}/stack.tif#2").values.max() == 1
    with pytest.raises(InputError, match=r"frame must be a whole number from 1, got 'two'"):
        load_image(f"{tmp_path}/stack.tif#two")


def test_a_choice_where_there_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'a.nii' holds one image, got the choice '#2'"):
        load_image(f"{nifti(tmp_path / 'a.nii', numbered(2, 2, 2))}#2")


def test_a_file_with_a_hash_in_its_name_is_itself(tmp_path):
    path = nifti(tmp_path / "a#2.nii", numbered(2, 2, 2))
    assert split_choice(path) == (path, None)


def test_slices_are_resampled_on_request(tmp_path):
    folder = write_series(tmp_path / "series", [at(depth) for depth in (0, 3, 9, 12)])
    assert load_image(folder, resample_slices=True).grid.shape == (7, 6, 5)


def test_named_channels_on_one_grid_are_stacked_in_order(tmp_path):
    sources = {name: nifti(tmp_path / f"{name}.nii", numbered(3, 4, 5) + n) for n, name in enumerate(["flair", "t1"])}
    image = load_image(sources)
    assert image.channels == ("flair", "t1")
    assert np.array_equal(image.values, np.stack([numbered(3, 4, 5), numbered(3, 4, 5) + 1]))
    assert image.notices == ()


def test_a_channel_on_another_grid_is_resampled_onto_the_first_with_a_notice(tmp_path):
    i, j, k = np.meshgrid(*map(np.arange, (8, 8, 8)), indexing="ij")
    first = Grid((8, 8, 8), np.diag([1.0, 1.0, 1.0, 1.0]))
    second = Grid((8, 8, 8), np.array([[0, 0, 1.5, -1], [-1.25, 0, 0, 8], [0, 1.0, 0, 0.5], [0, 0, 0, 1.0]]))
    world = second.world(np.stack([i, j, k], axis=-1))
    sources = {
        "flair": nifti(tmp_path / "flair.nii", numbered(8, 8, 8), first.affine),
        "t1": nifti(tmp_path / "t1.nii", world @ [1.0, 2.0, 3.0], second.affine),
    }
    image = load_image(sources)
    assert image.grid.same_as(first)
    truth = first.world(np.stack([i, j, k], axis=-1)) @ [1.0, 2.0, 3.0]
    assert np.allclose(image.values[1][1:6, 1:6, 1:6], truth[1:6, 1:6, 1:6], atol=1e-4)
    assert image.notices == (
        "t1: channel 't1' was resampled from 8 x 8 x 8 voxels of 1.25 x 1 x 1.5 mm onto the image's grid (linear)",
    )


def test_a_channel_that_lies_elsewhere_is_refused(tmp_path):
    away = AFFINE.copy()
    away[0, 3] += 100
    sources = {
        "flair": nifti(tmp_path / "flair.nii", numbered(3, 4, 5)),
        "t1": nifti(tmp_path / "t1.nii", numbered(3, 4, 5), away),
    }
    with pytest.raises(InputError, match=r"channel 't1' must lie where the image lies"):
        load_image(sources)


def test_pictures_of_two_sizes_are_no_channels_of_one_image(tmp_path):
    sources = {"a": png(tmp_path / "a.png", numbered(3, 4)), "b": png(tmp_path / "b.png", numbered(4, 4))}
    with pytest.raises(InputError, match=r"channel 'b' must be 4 x 3 voxels like the image .*, got 4 x 4"):
        load_image(sources)


def test_an_array_without_geometry_is_laid_on_an_image_of_its_size_with_a_notice(tmp_path):
    np.save(tmp_path / "t1.npy", numbered(3, 4, 5))
    image = load_image({"flair": nifti(tmp_path / "flair.nii", numbered(3, 4, 5)), "t1": tmp_path / "t1.npy"})
    assert np.allclose(image.grid.affine, AFFINE)
    assert image.notices == ("t1: channel 't1' was laid on the image voxel by voxel",)


def test_a_file_of_several_channels_cannot_be_one(tmp_path):
    sources = {"a": png(tmp_path / "a.png", np.zeros((3, 4, 3))), "b": png(tmp_path / "b.png", np.zeros((3, 4)))}
    with pytest.raises(InputError, match=r"channel 'a' must be a file of one channel, got 3"):
        load_image(sources)


def test_a_lone_colour_picture_keeps_its_own_channels(tmp_path):
    image = load_image({"photo": png(tmp_path / "a.png", np.zeros((3, 4, 3)))}, identifier="mine")
    assert (image.channels, image.identifier) == (("red", "green", "blue"), "mine")


def test_no_channel_is_refused():
    with pytest.raises(InputError, match="image must have at least one channel"):
        load_image({})


def test_the_identifier_of_channels_comes_from_all_of_them(tmp_path):
    flair, t1 = nifti(tmp_path / "a.nii", numbered(2, 2, 2)), nifti(tmp_path / "b.nii", numbered(2, 2, 2) + 1)
    both = load_image({"flair": flair, "t1": t1}).identifier
    assert len(both) == 12
    assert both not in (load_image(flair).identifier, load_image({"flair": flair, "t1": flair}).identifier)


@pytest.mark.parametrize("white", [255, 1])
def test_a_black_and_white_mask_has_label_one(tmp_path, white):
    mask = load_mask(png(tmp_path / "mask.png", np.eye(4) * white))
    assert np.array_equal(mask.values[0, :, :, 0], np.eye(4))
    assert (mask.channels, mask.unit) == (("mask",), "label")


def test_a_white_only_mask_is_all_ones(tmp_path):
    assert np.unique(load_mask(png(tmp_path / "mask.png", np.full((4, 4), 255))).values).tolist() == [1]


def test_a_black_mask_stays_empty(tmp_path):
    assert load_mask(png(tmp_path / "mask.png", np.zeros((4, 4)))).values.max() == 0


def test_few_greys_are_labels(tmp_path):
    labels = np.array([[0, 1, 2], [3, 255, 128]])
    assert np.array_equal(load_mask(png(tmp_path / "mask.png", labels)).values[0, :, :, 0], labels.T)


def test_white_of_sixteen_bits_is_label_one(tmp_path):
    PIL.Image.fromarray((np.eye(3) * 65535).astype(np.uint16)).save(tmp_path / "mask.png")
    assert np.array_equal(load_mask(tmp_path / "mask.png").values[0, :, :, 0], np.eye(3))


def test_a_mask_saved_in_equal_colours_is_a_mask(tmp_path):
    colours = np.repeat(np.eye(4)[..., None] * 255, 3, axis=-1)
    assert np.array_equal(load_mask(png(tmp_path / "mask.png", colours)).values[0, :, :, 0], np.eye(4))


def test_a_colourful_mask_is_refused(tmp_path):
    mask = load_mask(png(tmp_path / "mask.png", np.eye(4)[..., None] * [255, 0, 0]))
    with pytest.raises(InputError, match=r"mask 'mask.png' must have one channel, got 3 that differ"):
        _ = mask.values


def test_a_photograph_is_no_mask(tmp_path):
    mask = load_mask(png(tmp_path / "mask.png", numbered(16, 16)))
    with pytest.raises(InputError, match=r"'mask.png' must hold labels, got 256 different greys"):
        _ = mask.values


def test_a_jpeg_mask_is_cut_at_half_of_white_with_a_notice(tmp_path):
    square = np.zeros((32, 32), np.uint8)
    square[5:23, 3:21] = 255
    PIL.Image.fromarray(square).save(tmp_path / "mask.jpg", quality=60)
    assert len(np.unique(load_image(tmp_path / "mask.jpg").values)) > 2, "compression must have smeared the edges"
    mask = load_mask(tmp_path / "mask.jpg")
    assert np.array_equal(mask.values[0, :, :, 0], square.T > 0)
    assert "half of white" in mask.notices[-1]


@pytest.mark.parametrize("wrong", [0.5, -1.0, np.nan, np.inf])
def test_a_mask_of_other_than_whole_numbers_is_refused(tmp_path, wrong):
    mask = load_mask(nifti(tmp_path / "mask.nii", np.full((2, 2, 2), wrong)))
    with pytest.raises(InputError, match=r"mask 'mask.nii' must hold whole numbers from 0"):
        _ = mask.values


def test_labels_of_a_volume_are_kept(tmp_path):
    labels = numbered(4, 5, 6) % 117
    assert np.array_equal(load_mask(nifti(tmp_path / "mask.nii", labels)).values[0], labels)


def test_a_mask_on_another_grid_takes_the_nearest_voxel_with_a_notice(tmp_path):
    image = load_image(nifti(tmp_path / "image.nii", numbered(6, 6, 6), np.eye(4)))
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = 0.5
    labels = (numbered(3, 3, 3) % 4).astype(int)
    mask = load_mask(nifti(tmp_path / "mask.nii", labels, coarse), like=image)
    assert mask.grid.same_as(image.grid)
    assert np.array_equal(mask.values[0], labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert "the mask was resampled" in mask.notices[0]
    assert "mask.nii" not in mask.notices[0]


def test_a_mask_of_another_size_without_geometry_is_refused(tmp_path):
    image = load_image(png(tmp_path / "image.png", numbered(4, 5)))
    with pytest.raises(InputError, match=r"mask 'mask.png' must be 5 x 4 voxels like the image .*, got 5 x 5"):
        load_mask(png(tmp_path / "mask.png", np.zeros((5, 5))), like=image)


def test_a_picture_mask_is_laid_on_a_radiograph_of_its_size(tmp_path):
    header = picture(np.arange(12, dtype=np.uint8).reshape(3, 4), ImagePositionPatient=None, Modality="CR")
    image = load_image(save(header, tmp_path / "a.dcm"))
    mask = load_mask(png(tmp_path / "mask.png", np.array([[0, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 0]])), like=image)
    assert mask.grid.same_as(image.grid)
    assert mask.values[0, 3, 0, 0] == 1
    assert "voxel by voxel" in mask.notices[0]


def test_the_four_real_channels_are_one_image(data_folder):
    folder = data_folder / "mri-3d" / "brain-tumor-progression" / "PGBM-002_post"
    image = load_image({name: folder / f"{name}.nii.gz" for name in ("t1ce", "t1", "flair", "t2")})
    mask = load_mask(folder / "seg.nii.gz", like=image)
    assert image.values.shape == (4, *mask.grid.shape)
    assert image.notices == ()
    assert np.unique(mask.values).tolist() == [0, 1]
