import highdicom
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from tests.data.dicom_files import ACROSS, DOWN, NORMAL, ORIGIN, at, known_affine, volume, write_series
from voxplain.data.dicom import read_dicom
from voxplain.data.dicom_geometry import Slice, flat_grid, named_axes
from voxplain.errors import InputError

TILT = np.tan(np.radians(18.5))


def test_a_shuffled_oblique_series_lies_where_its_header_says(tmp_path):
    image = read_dicom(write_series(tmp_path / "series"))
    assert image.grid.shape == (7, 6, 5)
    assert np.allclose(image.grid.affine, known_affine(), atol=1e-5)
    assert np.array_equal(image.values[0], volume().transpose(2, 1, 0))
    assert image.grid.unit == "mm"


def test_voxels_lie_where_highdicom_puts_them(tmp_path):
    folder = write_series(tmp_path / "series")
    other = highdicom.get_volume_from_series([pydicom.dcmread(file) for file in sorted(folder.iterdir())])
    image = read_dicom(folder)
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    for index in np.ndindex(other.array.shape):
        world = lps_to_ras @ other.affine @ [*index, 1]
        i, j, k = np.rint(image.grid.voxels(world[:3])).astype(int)
        assert np.allclose(image.grid.world([i, j, k]), world[:3], atol=1e-4)
        assert image.values[0, i, j, k] == other.array[index]


def test_slices_stacked_the_other_way_are_sorted_along_their_normal(tmp_path):
    positions = [at(-3.0 * n) for n in range(5)]
    image = read_dicom(write_series(tmp_path / "series", positions, volume()))
    assert np.linalg.det(image.grid.affine[:3, :3]) > 0
    assert np.array_equal(image.values[0], volume()[::-1].transpose(2, 1, 0))


def test_the_gap_comes_from_positions_and_not_from_the_thickness(tmp_path):
    assert read_dicom(write_series(tmp_path / "series", SliceThickness=9.0)).grid.spacing[2] == pytest.approx(3.0)


def test_positions_rounded_to_a_hundredth_are_regular(tmp_path):
    positions = [[round(c, 2) for c in at(0.625 * n)] for n in range(7)]
    assert read_dicom(write_series(tmp_path / "series", positions)).notices == ()


def test_one_file_is_a_slice_of_its_thickness(tmp_path):
    folder = write_series(tmp_path / "series", SliceThickness=2.5)
    image = read_dicom(folder / "d.dcm")
    assert image.grid.shape == (7, 6, 1)
    assert np.allclose(image.grid.affine, known_affine(2.5), atol=1e-5)


REFUSED = {
    "missing": (
        [0, 3, 9, 12],
        r"missing slices, 1 between 'b.dcm' and 'e.dcm' \(6.0 mm apart\), where 3.0 mm is usual",
    ),
    "two missing": ([0, 3, 6, 15, 18], r"missing slices, 2 between 'e.dcm' and 'a.dcm' \(9.0 mm apart\)"),
    "unequal": ([0, 4, 8, 9, 16], r"gaps of 4.0 mm \(2 times\), 1.0 mm \(between 'e.dcm' and 'a.dcm'\), 7.0 mm"),
    "slightly unequal": ([0, 3, 6, 9.2, 12.2], r"gaps of 3.0 mm \(3 times\), 3.2 mm \(between 'e.dcm' and 'a.dcm'\)"),
    "doubled": ([0, 3, 3, 6, 9], r"slices at one position \('b.dcm' and 'e.dcm'\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_slices_that_are_no_regular_stack_are_refused_by_name(tmp_path, case):
    depths, sentence = REFUSED[case]
    with pytest.raises(InputError, match=f"'series' must be a regular upright stack of slices, got {sentence}"):
        read_dicom(write_series(tmp_path / "series", [at(depth) for depth in depths]))


def tilted(count: int = 5, gap: float = 3.0) -> list[list[float]]:
    return [at(gap * n, (0.0, gap * n * TILT)) for n in range(count)]


def test_a_tilted_gantry_is_refused_in_degrees(tmp_path):
    with pytest.raises(InputError, match=r"got a tilt of 18.5 degrees; pass --resample-slices \(resample_slices=True"):
        read_dicom(write_series(tmp_path / "series", tilted()))


def test_a_slice_beside_the_others_is_refused(tmp_path):
    positions = [at(0), at(3, (1.0, 0)), at(6), at(9)]
    with pytest.raises(InputError, match=r"'b.dcm' shifted sideways by 2.0 pixels"):
        read_dicom(write_series(tmp_path / "series", positions))


@pytest.mark.parametrize(
    ("attribute", "values", "sentence"),
    [
        ("ImageOrientationPatient", [[*ACROSS, *DOWN], [*DOWN, *ACROSS]], "must have one orientation"),
        ("PixelSpacing", [[0.8, 0.5], [0.8, 0.6]], "must have one pixel spacing"),
    ],
)
def test_slices_that_differ_in_kind_are_no_stack_even_when_resampled(tmp_path, attribute, values, sentence):
    values = [[round(float(c), 6) for c in value] for value in values]
    folder = write_series(tmp_path / "series", [at(0), at(3)], **{attribute: values})
    with pytest.raises(InputError, match=sentence):
        read_dicom(folder, resample_slices=True)


def test_slices_of_two_sizes_are_refused(tmp_path):
    write_series(tmp_path / "series", [at(0)], volume(1, 7, 6))
    write_series(tmp_path / "other", [at(0), at(3)], volume(2, 6, 6))
    (tmp_path / "other" / "b.dcm").rename(tmp_path / "series" / "x.dcm")
    with pytest.raises(InputError, match="slices must have one size, got"):
        read_dicom(tmp_path / "series")


def test_a_crooked_orientation_is_refused(tmp_path):
    with pytest.raises(InputError, match="two perpendicular unit vectors"):
        read_dicom(write_series(tmp_path / "series", ImageOrientationPatient=[[1, 0, 0, 0.5, 0.9, 0]] * 5))


def field(world: np.ndarray) -> np.ndarray:
    """A linear function of the place in the world: linear interpolation gives it back exactly."""
    return world @ np.array([2.0, -3.0, 1.5])


def scanned(positions: list[list[float]], columns: int = 16, rows: int = 14) -> np.ndarray:
    """What a scanner would store of `field` at these positions, to a 32nd."""
    i, j = np.meshgrid(np.arange(columns), np.arange(rows))
    places = i[..., None] * ACROSS * 0.5 + j[..., None] * DOWN * 0.8
    lps = np.stack([places + position for position in positions])
    return np.round(field(lps * [-1, -1, 1]) * 32).astype(np.int16)


CROOKED = {
    "tilted": tilted(6),
    "missing": [at(depth) for depth in (0, 3, 9, 12)],
    "unequal": [at(depth) for depth in (0, 4, 8, 9, 16, 23)],
    "tilted and unequal": [at(depth, (0.0, depth * TILT)) for depth in (0, 4, 8, 9, 16, 23)],
    "tilted the other way": [at(depth, (0.0, -depth * TILT)) for depth in (0, 4, 8, 12)],
    "tilted across": [at(depth, (depth * TILT, -depth * 0.1)) for depth in (0, 4, 8, 12)],
    "doubled": [at(depth) for depth in (0, 3, 3, 6)],
    "sideways": [at(0), at(3, (1.0, 0)), at(6, (-0.5, 0.4)), at(9)],
}


@pytest.mark.parametrize("case", CROOKED)
def test_resampled_slices_show_the_world_where_it_is(tmp_path, case):
    positions = CROOKED[case]
    folder = write_series(tmp_path / "series", positions, scanned(positions), RescaleSlope=1 / 32)
    image = read_dicom(folder, resample_slices=True)
    places = image.grid.world(np.stack(np.meshgrid(*map(np.arange, image.grid.shape), indexing="ij"), axis=-1))
    seen = between_two_slices(places * [-1, -1, 1], positions)
    assert seen.mean() > 0.3
    # Shifts next to whole pixels are taken as whole: that is 0.03 pixels of 0.8 mm in a field of 3.9 a mm.
    assert np.abs(image.values[0] - field(places))[seen].max() < 0.03 * 0.8 * 3.9 + 1 / 32
    assert image.values.min() == pytest.approx(scanned(positions).min() / 32)


def between_two_slices(lps: np.ndarray, positions: list[list[float]], columns: int = 16, rows: int = 14) -> np.ndarray:
    """Which places have a scanned pixel straight above and below them."""
    offsets = np.array(sorted((p - ORIGIN) @ NORMAL for p in np.array(positions)))
    by_depth = sorted(np.array(positions), key=lambda p: (p - ORIGIN) @ NORMAL)
    depth = (lps - ORIGIN) @ NORMAL
    below = np.clip(np.searchsorted(offsets, depth, side="right") - 1, 0, len(offsets) - 2)
    seen = np.ones(depth.shape, dtype=bool)
    for step in (0, 1):
        inside = lps - np.array(by_depth)[below + step]
        i, j = inside @ ACROSS / 0.5, inside @ DOWN / 0.8
        seen &= (i > -1e-3) & (i < columns - 1 + 1e-3) & (j > -1e-3) & (j < rows - 1 + 1e-3)
    return seen


@pytest.mark.parametrize("case", CROOKED)
def test_a_resampled_grid_is_upright_and_holds_every_slice(tmp_path, case):
    positions = CROOKED[case]
    grid = read_dicom(write_series(tmp_path / "series", positions, scanned(positions)), resample_slices=True).grid
    directions = grid.affine[:3, :3] / grid.spacing
    assert np.allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    assert grid.spacing[:2] == pytest.approx((0.5, 0.8))
    lps = np.array([-1, -1, 1])
    corners = [p + i * 0.5 * ACROSS + j * 0.8 * DOWN for p in np.array(positions) for i in (0, 15) for j in (0, 13)]
    voxels = grid.voxels(np.array(corners) * lps)
    assert voxels.min() > -0.06
    assert (voxels < np.array(grid.shape) - 0.94).all()


def test_resampling_is_told_with_slices_by_number(tmp_path):
    image = read_dicom(write_series(tmp_path / "series", CROOKED["tilted and unequal"]), resample_slices=True)
    (notice,) = image.notices
    assert notice.startswith("the series had a tilt of 18.5 degrees and gaps of")
    assert "between slice 3 and slice 4" in notice
    assert ".dcm" not in notice


def test_of_doubled_slices_the_first_by_number_is_taken(tmp_path):
    stored = volume(4)
    folder = write_series(tmp_path / "series", CROOKED["doubled"], stored, InstanceNumber=[1, 9, 2, 4])
    image = read_dicom(folder, resample_slices=True)
    assert np.array_equal(image.values[0], stored[[0, 2, 3]].transpose(2, 1, 0))
    assert "slices at one position (slice 2 and slice 3)" in image.notices[0]


def test_a_regular_series_is_the_same_whether_resampling_is_asked_for_or_not(tmp_path):
    folder = write_series(tmp_path / "series")
    assert np.array_equal(read_dicom(folder).values, read_dicom(folder, resample_slices=True).values)


def test_a_missing_slice_is_filled_between_its_neighbours_and_the_others_stay(tmp_path):
    folder = write_series(tmp_path / "series", CROOKED["missing"], volume(4))
    values = read_dicom(folder, resample_slices=True).values[0]
    there = volume(4).transpose(2, 1, 0)
    assert np.allclose(values[..., [0, 1, 3, 4]], there, atol=1e-3)
    assert np.allclose(values[..., 2], (there[..., 1] + there[..., 2]) / 2, atol=1e-3)


@pytest.mark.parametrize(
    ("letters", "orientation"),
    [(("L", "F"), "LIP"), (("P", "F"), "PIR"), (("A", "F"), "AIL"), (("R", "H"), "RSP"), (("LA", "FP"), "LIP")],
)
def test_letters_name_the_axes_of_a_projection(letters, orientation):
    grid = flat_grid((4, 3), (0.2, 0.3), "detector mm", letters)
    assert grid.orientation == orientation
    assert grid.spacing == pytest.approx((0.2, 0.3, 1.0))


@pytest.mark.parametrize("letters", [None, (), ("L",), ("L", "R"), ("X", "F"), ("", "F"), ("L", "L")])
def test_letters_that_name_no_two_axes_do_not_count(letters):
    assert not named_axes(letters)
    assert flat_grid((4, 3), (1, 1), "px", letters).orientation == "LPS"


def test_the_normal_is_right_handed():
    one = Slice("a", (2, 2), ORIGIN, ACROSS, DOWN, (1.0, 1.0), 1.0)
    assert np.linalg.det(np.stack([one.across, one.down, one.normal])) == pytest.approx(1.0)
    assert np.allclose(one.normal, NORMAL)


def test_the_real_ct_head_is_refused_by_name(data_folder):
    told = (
        r"got a tilt of 18.5 degrees and gaps of 4.2 mm \(13 times\), 1.1 mm \(between '14.dcm' and '15.dcm'\), 7.4 mm"
    )
    with pytest.raises(InputError, match=told):
        read_dicom(data_folder / "dicom" / "ct-head")


def test_the_real_ct_head_is_resampled_on_request(data_folder):
    image = read_dicom(data_folder / "dicom" / "ct-head", resample_slices=True)
    assert image.grid.spacing == pytest.approx((0.4883, 0.4883, 4.0), abs=0.01)
    assert image.unit == "HU"
    assert image.values.min() == -1023


@pytest.mark.parametrize("name", ["05.dcm", "14.dcm", "22.dcm"])
def test_every_part_of_the_resampled_ct_head_is_where_its_slice_was(data_folder, name):
    folder = data_folder / "dicom" / "ct-head"
    image = read_dicom(folder, resample_slices=True)
    one = read_dicom(folder / name)
    i, j = np.meshgrid(np.arange(100, 400, 3), np.arange(60, 450, 3), indexing="ij")
    stored = one.values[0, i, j, 0]
    places = image.grid.voxels(one.grid.world(np.stack([i, j, np.zeros_like(i)], axis=-1)))
    found = ndimage.map_coordinates(image.values[0], np.moveaxis(places, -1, 0), order=1)
    off = np.abs(found - stored).mean()
    beside = np.abs(np.roll(found, 2, axis=1) - stored).mean()  # six pixels down: what a wrong tilt would look like
    assert off < 0.5 * beside


def test_the_real_mr_head_has_a_right_handed_affine_and_slices_8_mm_apart(data_folder):
    image = read_dicom(data_folder / "dicom" / "mr-head")
    assert image.grid.spacing == pytest.approx((0.69999, 0.66667, 8.0), abs=1e-4)
    assert np.linalg.det(image.grid.affine[:3, :3]) > 0
    assert image.values.shape == (1, 274, 384, 32)


def test_the_real_mr_head_lies_where_highdicom_puts_it(data_folder):
    folder = data_folder / "dicom" / "mr-head"
    other = highdicom.get_volume_from_series([pydicom.dcmread(file) for file in sorted(folder.glob("*.dcm"))])
    image = read_dicom(folder)
    for index in [(0, 0, 0), (31, 200, 100), (10, 383, 273), (17, 5, 250)]:
        world = np.diag([-1.0, -1.0, 1.0, 1.0]) @ other.affine @ [*index, 1]
        i, j, k = np.rint(image.grid.voxels(world[:3])).astype(int)
        assert image.grid.world([i, j, k]) == pytest.approx(world[:3], abs=1e-3)
        assert image.values[0, i, j, k] == other.array[index]
