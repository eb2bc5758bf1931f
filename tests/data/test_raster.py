import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from voxplain.data.raster import read_npy, read_raster
from voxplain.errors import FileError, InputError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
"""Three rows, four columns."""


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


def png(path: Path, pixels: np.ndarray, colour_type: int) -> Path:
    """A 16-bit PNG of (rows, columns, samples), which Pillow cannot write."""
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_columns_are_the_first_axis_and_rows_the_second(tmp_path, suffix):
    image = read_raster(saved(tmp_path / f"picture{suffix}", GREY))
    assert image.grid.shape == (4, 3, 1)
    assert np.array_equal(image.values[0, :, :, 0], GREY.T)
    assert (image.unit, image.channels) == ("8-bit grey", ("image",))


def test_a_picture_lies_in_pixels_with_its_right_side_to_the_patients_left(tmp_path):
    grid = read_raster(saved(tmp_path / "picture.png", GREY)).grid
    assert (grid.unit, grid.orientation) == ("px", "LPS")
    assert np.array_equal(grid.affine, np.diag([-1.0, -1.0, 1.0, 1.0]))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_of_grey_are_kept(tmp_path, suffix):
    deep = GREY.astype(np.uint16) * 250 + 7
    image = read_raster(saved(tmp_path / f"picture{suffix}", deep))
    assert np.array_equal(image.values[0, :, :, 0], deep.T)
    assert image.unit == "16-bit grey"


def test_a_jpeg_is_read_upright(tmp_path):
    smooth = np.add.outer(np.arange(16) * 2, np.arange(24) * 7).astype(np.uint8)
    image = read_raster(saved(tmp_path / "picture.jpg", smooth, quality=95))
    assert np.abs(image.values[0, :, :, 0] - smooth.T).max() <= 3


def test_rgb_becomes_three_named_channels(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (3, 4, 3)).astype(np.uint8)
    image = read_raster(saved(tmp_path / "picture.png", colours))
    assert image.channels == ("red", "green", "blue")
    assert np.array_equal(image.values[..., 0], colours.transpose(2, 1, 0))


def test_transparency_is_dropped_with_a_notice(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (3, 4, 4)).astype(np.uint8)
    image = read_raster(saved(tmp_path / "picture.png", colours))
    assert np.array_equal(image.values[..., 0], colours[..., :3].transpose(2, 1, 0))
    assert image.notices == ("its transparency was dropped",)


def test_grey_with_transparency_stays_grey(tmp_path):
    image = read_raster(saved(tmp_path / "picture.png", np.stack([GREY, GREY // 2], axis=-1)))
    assert np.array_equal(image.values[0, :, :, 0], GREY.T)
    assert image.notices == ("its transparency was dropped",)


def test_a_palette_of_colours_becomes_rgb(tmp_path):
    picture = PIL.Image.fromarray((GREY > 100).astype(np.uint8), mode="P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "picture.png", transparency=b"\x00\xff")
    image = read_raster(tmp_path / "picture.png")
    assert image.values[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert image.values[:, 3, 2, 0].tolist() == [200, 100, 50]


def test_a_palette_of_greys_becomes_one_channel(tmp_path):
    picture = PIL.Image.fromarray((GREY > 100).astype(np.uint8), mode="P")
    picture.putpalette([10, 10, 10, 200, 200, 200])
    picture.save(tmp_path / "picture.png")
    assert np.unique(read_raster(tmp_path / "picture.png").values).tolist() == [10, 200]


def test_a_palettes_numbers_are_the_labels_of_a_mask(tmp_path):
    picture = PIL.Image.fromarray((GREY > 100).astype(np.uint8) * 2, mode="P")
    picture.putpalette([10, 20, 30, 0, 0, 0, 200, 100, 50])
    picture.save(tmp_path / "mask.png")
    assert np.unique(read_raster(tmp_path / "mask.png", labels=True).values).tolist() == [0, 2]


def test_one_bit_is_nought_or_one(tmp_path):
    image = read_raster(saved(tmp_path / "mask.png", GREY > 100))
    assert np.array_equal(image.values[0, :, :, 0], (GREY > 100).T)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_the_cameras_turn_is_undone(tmp_path, turn, suffix):
    smooth = np.add.outer(np.arange(16) * 2, np.arange(24) * 7).astype(np.uint8)
    stored = {
        1: smooth, 2: smooth[:, ::-1], 3: smooth[::-1, ::-1], 4: smooth[::-1], 5: smooth.T, 6: smooth.T[::-1],
        7: smooth.T[::-1, ::-1], 8: smooth.T[:, ::-1],
    }[turn]  # fmt: skip
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    image = read_raster(saved(tmp_path / f"picture{suffix}", np.ascontiguousarray(stored), exif=exif))
    assert image.values.shape == (1, 24, 16, 1)
    assert np.abs(image.values[0, :, :, 0] - smooth.T).max() <= 4
    assert len(image.notices) == (turn != 1)


@pytest.mark.parametrize(("colour_type", "samples"), [(2, 3), (6, 4), (4, 2)])
def test_colours_of_sixteen_bits_are_read_with_a_notice_that_eight_remain(tmp_path, colour_type, samples):
    deep = np.random.default_rng(0).integers(0, 65535, (3, 4, samples))
    image = read_raster(png(tmp_path / "picture.png", deep, colour_type))
    assert np.abs(image.values[0, :, :, 0] - deep[..., 0].T / 257).max() <= 1
    assert "its 16-bit colours were read with 8 bits" in image.notices


def test_a_tiff_that_counts_white_as_zero_is_turned_round(tmp_path):
    deep = GREY.astype(np.uint16) * 250
    saved(tmp_path / "picture.tif", deep)
    content = (tmp_path / "picture.tif").read_bytes()
    photometric = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert content.count(photometric) == 1
    (tmp_path / "picture.tif").write_bytes(content.replace(photometric, struct.pack("<HHIHH", 262, 3, 1, 0, 0)))
    image = read_raster(tmp_path / "picture.tif")
    assert np.array_equal(image.values[0, :, :, 0], 65535.0 - deep.T)
    assert "white is zero" in image.notices[0]


def several(path: Path) -> Path:
    frames = [PIL.Image.fromarray(GREY + n) for n in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def test_a_file_of_several_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'stack.tif' must hold one picture, got 3 frames; choose one, such as"):
        read_raster(several(tmp_path / "stack.tif"))


@pytest.mark.parametrize("frame", [1, 2, 3])
def test_a_frame_counts_from_one(tmp_path, frame):
    image = read_raster(several(tmp_path / "stack.tif"), frame=frame)
    assert np.array_equal(image.values[0, :, :, 0], GREY.T + frame - 1)


@pytest.mark.parametrize("frame", [0, 4])
def test_a_frame_out_of_range_is_refused(tmp_path, frame):
    with pytest.raises(InputError, match=f"'stack.tif': frame must be from 1 to 3, got {frame}"):
        read_raster(several(tmp_path / "stack.tif"), frame=frame)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40)])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(FileError, match=r"'picture.png' must be a PNG, JPEG or TIFF picture"):
        read_raster(tmp_path / "picture.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_picture_cut_short_is_named_when_it_is_used(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    # The directory of a TIFF stands before its pixels when Pillow compresses them, as in most files of scanners.
    whole = saved(tmp_path / f"whole{suffix}", noise).read_bytes()
    (tmp_path / f"picture{suffix}").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(FileError, match=f"'picture{suffix}' must be a"):
        _ = read_raster(tmp_path / f"picture{suffix}").values


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(FileError, match=r"'picture.png' does not exist"):
        read_raster(tmp_path / "picture.png")


def test_a_colour_space_without_a_plain_meaning_is_refused(tmp_path):
    PIL.Image.new("LAB", (4, 3)).save(tmp_path / "picture.tif")
    with pytest.raises(InputError, match="must be grey or RGB, got mode LAB"):
        read_raster(tmp_path / "picture.tif")


def test_a_picture_of_absurd_size_is_refused_in_words(tmp_path, monkeypatch):
    path = saved(tmp_path / "picture.png", GREY)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(InputError, match=r"'picture.png' must have fewer pixels"):
        read_raster(path)


def test_pixels_are_read_when_they_are_used(tmp_path):
    path = saved(tmp_path / "picture.png", GREY)
    image = read_raster(path)
    saved(path, 255 - GREY)
    assert image.values.max() == 255


def array(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def test_an_array_of_two_axes_is_rows_and_columns(tmp_path):
    image = read_npy(array(tmp_path / "picture.npy", GREY))
    assert image.grid.shape == (4, 3, 1)
    assert np.array_equal(image.values[0, :, :, 0], GREY.T)
    assert image.grid.orientation == "LPS"


def test_an_array_of_three_axes_is_a_volume(tmp_path):
    stored = np.random.default_rng(0).normal(size=(2, 3, 4))
    image = read_npy(array(tmp_path / "scan.npy", stored))
    assert np.array_equal(image.values[0], stored.astype(np.float32))
    assert (image.grid.unit, image.grid.orientation) == ("px", "RAS")


def test_an_array_of_four_axes_has_channels_first(tmp_path):
    stored = np.random.default_rng(0).normal(size=(5, 2, 3, 4))
    image = read_npy(array(tmp_path / "scan.npy", np.asfortranarray(stored)))
    assert image.channels[4] == "channel4"
    assert np.array_equal(image.values, stored.astype(np.float32))


def test_a_volume_of_depth_one_lies_like_a_picture(tmp_path):
    assert read_npy(array(tmp_path / "scan.npy", np.zeros((4, 3, 1)))).grid.orientation == "LPS"


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((1, 1, 1, 1, 1)), np.zeros((2, 0)), np.zeros((2, 2), complex)])
def test_other_arrays_are_refused(tmp_path, wrong):
    with pytest.raises((InputError, FileError), match=r"'scan.npy' must h?"):
        read_npy(array(tmp_path / "scan.npy", wrong))


class Payload:
    """A pickle of it would leave a trace when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "scan.npy", np.array([Payload(tmp_path / "trace")], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="plain numbers"):
        read_npy(tmp_path / "scan.npy")
    assert not (tmp_path / "trace").exists()


def test_a_garbled_header_of_an_array_is_told(tmp_path):
    content = array(tmp_path / "whole.npy", np.zeros((4, 4))).read_bytes()
    (tmp_path / "scan.npy").write_bytes(content.replace(b"}", b"("))
    with pytest.raises(FileError, match=r"'scan.npy' must be a whole .npy file"):
        read_npy(tmp_path / "scan.npy")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_an_array_cut_short_is_named(tmp_path, share):
    whole = array(tmp_path / "whole.npy", np.zeros((30, 30))).read_bytes()
    (tmp_path / "scan.npy").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FileError, match=r"'scan.npy' must be a whole .npy file"):
        read_npy(tmp_path / "scan.npy")


def test_reads_a_real_slice_and_its_mask(data_folder):
    folder = data_folder / "brain-tumor-2d"
    image = read_raster(folder / "images" / "glioma_0715.jpg")
    mask = read_raster(folder / "masks" / "glioma_0715.png")
    assert image.grid.same_as(mask.grid)
    assert np.unique(mask.values).tolist() == [0, 1]
