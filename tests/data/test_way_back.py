"""The way back: maps return to where they were made, sums survive, replicated channels are summed."""

import nibabel
import numpy as np
import pytest

from tests.space.grids import apart, centre_of_mass, marked, strongest, turned
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.data.way_back import bring_back, cell_grid
from voxplain.errors import InputError
from voxplain.space.grid import Grid
from voxplain.space.layout import oriented, respaced
from voxplain.types import Quantity

SUM_TOLERANCE = 1e-6
"""Sums are kept in float64; only the storage of the map in float32 rounds them."""

ADDS, PLAIN = Quantity.SCORE_UNITS, Quantity.SALIENCY
PIXELS = Grid((40, 30, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
OBLIQUE = turned((18, 16, 14), (1.0, 1.5, 2.5), (20, -30, 40), (10, 20, 30))
IMAGES = {
    "oblique": OBLIQUE,
    "flipped": turned((18, 16, 14)).flipped((0, 2)),
    "anisotropic": turned((18, 16, 7), (1.0, 1.0, 5.0)),
    "permuted": oriented(turned((18, 16, 14), (1.0, 1.5, 2.5)), "SAR"),
    "2D": PIXELS,
    "2D in mm": Grid((40, 30, 1), np.diag([-0.5, -0.7, 4.0, 1.0])),
}
WAYS = {
    "nothing done": {},
    "finer": {"size": (47, 53, 41)},
    "coarser": {"size": (7, 9, 6)},
    "cropped": {"crop_pad": (14, 12, 6)},
    "padded": {"pad_multiple": 32},
    "spacing": {"spacing_mm": (0.8, 1.1, 1.3), "pad_multiple": 8},
    "turned": {"orientation": "LPS", "spacing_mm": (2.1, 2.2, 2.3)},
}
CASES = [
    (image, way)
    for image in IMAGES
    for way in WAYS
    if not (way == "turned" and image.startswith("2D")) and not (way == "spacing" and image == "2D")
]


def prepared_of(grid, way):
    rank = 2 if grid.is_2d else 3
    options = {key: value[:rank] if isinstance(value, tuple) else value for key, value in WAYS[way].items()}
    values = np.random.default_rng(0).normal(size=(1, *grid.shape))
    return Prepare(**options)(Image.of(values, grid), rank)


def tensor_noise(prepared, channels=1):
    return np.random.default_rng(1).normal(size=(channels, *prepared.values.shape[1:])).astype(np.float32)


def steps_along(grid, tensor_grid):
    """Voxel size of the tensor along the image's axes."""
    return np.array(oriented(tensor_grid, grid.orientation).spacing)


@pytest.mark.parametrize(("image", "way"), CASES)
@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_a_marked_voxel_of_the_tensor_returns_within_half_a_voxel(image, way, quantity):
    grid = IMAGES[image]
    prepared = prepared_of(grid, way)
    middle = np.round(prepared.grid.voxels(grid.world((np.array(grid.shape) - 1) / 2))).astype(int)
    for step in (0, 1):
        voxel = tuple(int(n) for n in middle[: prepared.rank] + step)
        spot = np.zeros_like(prepared.values)
        spot[(0, *voxel)] = 1.0
        back = bring_back(spot, prepared.grid, grid, quantity).values[0]
        true = prepared.grid.world([*voxel, 0][:3])
        larger = respaced(grid, np.maximum(grid.spacing, steps_along(grid, prepared.grid)))
        assert apart(centre_of_mass(back, grid), true, larger) < 0.5
        assert apart(strongest(back, grid), true, larger) < 0.5 + 1e-6


@pytest.mark.parametrize(("image", "way"), CASES)
@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_a_marked_voxel_of_the_image_returns_through_the_tensor(image, way, quantity):
    grid = IMAGES[image]
    voxel = tuple(count // 2 for count in grid.shape)
    rank = 2 if grid.is_2d else 3
    options = {key: value[:rank] if isinstance(value, tuple) else value for key, value in WAYS[way].items()}
    prepared = Prepare(**options)(Image.of(marked(grid, voxel), grid), rank)
    back = bring_back(prepared.values, prepared.grid, grid, quantity).values[0]
    steps = steps_along(grid, prepared.grid)
    assert apart(centre_of_mass(back, grid), grid.world(voxel), respaced(grid, np.maximum(grid.spacing, steps))) < 0.5
    if (steps <= grid.spacing).all():
        assert np.array_equal(np.unravel_index(back.argmax(), back.shape), voxel)


@pytest.mark.parametrize(("image", "way"), CASES)
def test_the_sum_of_a_signed_map_survives_but_for_what_lay_in_padding(image, way):
    grid = IMAGES[image]
    prepared = prepared_of(grid, way)
    values = tensor_noise(prepared, 2)
    returned = bring_back(values, prepared.grid, grid, ADDS)
    assert returned.values.sum(dtype=np.float64) == pytest.approx(returned.sum_on_image)
    if way not in ("padded", "spacing", "turned"):
        scale = float(np.abs(values).sum())
        assert returned.sum_on_image == pytest.approx(values.sum(dtype=np.float64), abs=SUM_TOLERANCE * scale)
        assert returned.share_lost < SUM_TOLERANCE


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_an_identity_preparation_returns_bit_equal_values(image, quantity):
    grid = IMAGES[image]
    prepared = prepared_of(grid, "nothing done")
    values = tensor_noise(prepared, 2)
    back = bring_back(values, prepared.grid, grid, quantity).values
    assert np.array_equal(back, values.transpose(0, 2, 1)[..., None] if grid.is_2d else values)


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_the_share_in_padding_is_told_and_signs_do_not_cancel(quantity):
    grid = turned((4, 4, 4))
    tensor = grid.window((-2, 0, 0), (8, 4, 4))
    values = np.ones((1, 8, 4, 4), dtype=np.float32)
    values[0, 0] = -1
    returned = bring_back(values, tensor, grid, quantity)
    assert returned.share_lost == pytest.approx(0.5)


def test_padding_takes_its_part_of_the_sum():
    grid = turned((4, 4, 4))
    returned = bring_back(np.ones((1, 8, 4, 4)), grid.window((-2, 0, 0), (8, 4, 4)), grid, ADDS)
    assert returned.sum_on_image == pytest.approx(64)


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_outside_the_tensor_the_map_is_zero(quantity):
    grid = turned((8, 4, 4))
    back = bring_back(np.ones((1, 4, 4, 4)), grid.window((2, 0, 0), (4, 4, 4)), grid, quantity).values
    assert back[0, :, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_an_empty_map_loses_nothing(quantity):
    grid = turned((4, 4, 4))
    assert bring_back(np.zeros((1, 4, 4, 4)), grid, grid, quantity).share_lost == 0.0


def test_a_plain_quantity_keeps_its_level_where_voxels_change_size():
    grid = turned((8, 8, 8))
    for size in ((5, 5, 5), (16, 16, 16)):
        tensor = grid.resized(size)
        back = bring_back(np.full((1, *size), 0.7), tensor, grid, PLAIN)
        assert back.values == pytest.approx(np.full((1, 8, 8, 8), 0.7), abs=1e-6)
        assert back.sum_on_image is None


# --- channels ---------------------------------------------------------------------------------------------------------


def test_replicated_channels_return_as_the_adjoint_of_preparation():
    """<map, prepare(image)> = <bring_back(map), image>: what a gradient by the tensor does to the image's voxels."""
    grid = Grid((6, 5, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
    random = np.random.default_rng(0)
    image = Image.of(random.normal(size=(1, 6, 5, 1)), grid)
    options = Prepare(scale=0.5, grey_to_rgb=True, std=(0.5, 0.25, 0.2), crop_pad=(8, 4))
    prepared = options(image, 2)
    gradient = random.normal(size=(3, 8, 4))
    by_raw = gradient * np.array(prepared.gain)[:, None, None]
    back = bring_back(by_raw, prepared.grid, grid, Quantity.RELEVANCE, prepared.replicated)
    assert back.values.shape == (1, 6, 5, 1)
    assert float((back.values * image.values).sum()) == pytest.approx(
        float((gradient * prepared.values).sum()), rel=1e-5
    )


def test_replicated_channels_are_summed():
    grid = turned((4, 4, 4))
    values = np.random.default_rng(0).normal(size=(3, 4, 4, 4)).astype(np.float32)
    for quantity in (ADDS, Quantity.RELEVANCE, PLAIN):
        back = bring_back(values, grid, grid, quantity, replicated=True).values
        assert back == pytest.approx(values.sum(axis=0, keepdims=True), abs=1e-6)


def test_replicated_probabilities_stay_probabilities():
    grid = turned((4, 4, 4))
    back = bring_back(np.full((3, 4, 4, 4), 0.6), grid, grid, Quantity.MASK, replicated=True).values
    assert back == pytest.approx(np.full((1, 4, 4, 4), 0.6))


def test_true_colour_channels_stay_apart():
    grid = turned((4, 4, 4))
    assert bring_back(np.ones((3, 4, 4, 4)), grid, grid, ADDS).values.shape == (3, 4, 4, 4)


def test_a_map_of_all_channels_stays_one():
    grid = turned((4, 4, 4))
    assert bring_back(np.ones((1, 4, 4, 4)), grid, grid, ADDS, replicated=True).sum_on_image == pytest.approx(64)


# --- coarse maps ------------------------------------------------------------------------------------------------------


def test_cells_lie_where_they_were_measured():
    tensor = prepared_of(PIXELS, "nothing done").grid
    cells = cell_grid(tensor, (4.0, 7.5), (8.0, 16.0), (3, 2))
    assert cells.shape == (3, 2, 1)
    assert cells.world([2, 1, 0]) == pytest.approx(tensor.world([20, 23.5, 0]))


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_a_marked_cell_returns_within_half_an_image_voxel(quantity):
    tensor = respaced(oriented(OBLIQUE, "LPS"), (0.5, 0.5, 0.5))
    cells = cell_grid(tensor, (11, 12, 13), (5, 6, 7), (4, 5, 3))
    spot = marked(cells, (1, 2, 1))
    back = bring_back(spot, tensor, OBLIQUE, quantity, cells=cells).values[0]
    assert apart(centre_of_mass(back, OBLIQUE), tensor.world([16, 24, 20]), OBLIQUE) < 0.5
    assert apart(strongest(back, OBLIQUE), tensor.world([16, 24, 20]), OBLIQUE) < 0.5


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_even_cells_fill_the_picture_in_the_half_pixel_convention(quantity):
    grid = turned((12, 8, 1))
    tensor = Prepare()(Image.of(np.ones((1, 12, 8, 1)), grid), 2).grid
    cells = cell_grid(tensor, (1.5, 1.5), (4, 4), (2, 3))
    back = bring_back(np.ones((1, 2, 3)), tensor, grid, quantity, cells=cells).values
    assert back == pytest.approx(np.full((1, 12, 8, 1), 1 / 16 if quantity is ADDS else 1), abs=1e-6)


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_cells_centred_on_the_first_voxel_still_fill_the_picture(quantity):
    """The cells of a padded stride-4 network: centres at 0, 4, 8, so that the last voxels lie beyond the last cell."""
    grid = turned((12, 1, 1), middle=(5.5, 0, 0))
    cells = cell_grid(grid, (0, 0, 0), (4, 1, 1), (3, 1, 1))
    returned = bring_back(np.ones((1, 3, 1, 1)), grid, grid, quantity, cells=cells)
    assert (returned.values > 0).all()
    assert returned.share_lost == pytest.approx(0, abs=1e-6)
    assert quantity is PLAIN or returned.sum_on_image == pytest.approx(3)


def test_nothing_is_claimed_far_from_every_cell():
    """A network without padding: the rim of the picture lies in no cell's neighbourhood."""
    grid = turned((40, 1, 1), middle=(19.5, 0, 0))
    cells = cell_grid(grid, (15, 0, 0), (4, 1, 1), (3, 1, 1))
    back = bring_back(np.ones((1, 3, 1, 1)), grid, grid, PLAIN, cells=cells).values.ravel()
    assert np.flatnonzero(back).tolist() == list(range(11, 28))


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_what_no_cell_claims_is_not_told_as_lost(quantity):
    tensor = turned((40, 1, 1), middle=(19.5, 0, 0))
    cells = cell_grid(tensor, (15, 0, 0), (4, 1, 1), (3, 1, 1))
    returned = bring_back(np.ones((1, 3, 1, 1)), tensor, tensor.window((0, 0, 0), (30, 1, 1)), quantity, cells=cells)
    assert returned.share_lost == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("quantity", [ADDS, PLAIN])
def test_cells_over_padding_are_told_as_lost(quantity):
    grid = turned((8, 8, 8))
    tensor = grid.window((-8, 0, 0), (16, 8, 8))
    cells = cell_grid(tensor, (1.5, 1.5, 1.5), (4, 4, 4), (4, 2, 2))
    returned = bring_back(np.ones((1, 4, 2, 2)), tensor, grid, quantity, cells=cells)
    assert returned.share_lost == pytest.approx(0.5, abs=1e-6)


def test_a_map_off_its_grid_is_refused():
    grid = turned((4, 4, 4))
    with pytest.raises(InputError, match=r"map is \(1, 4, 4, 5\) but the grid of its tensor is \(4, 4, 4\)"):
        bring_back(np.ones((1, 4, 4, 5)), grid, grid, ADDS)


# --- a real volume ----------------------------------------------------------------------------------------------------


def test_a_real_volume_comes_back_with_its_sum(data_folder):
    path = sorted(data_folder.rglob("*.nii.gz"))[0]
    scan = nibabel.load(path)
    voxels = np.asarray(scan.dataobj, dtype=np.float32)
    voxels = voxels[..., 0] if voxels.ndim == 4 else voxels
    grid = Grid(voxels.shape, scan.affine)
    step = float(np.cbrt(grid.voxel_volume)) * 1.7
    prepared = Prepare(orientation="RAS", spacing_mm=(step,) * 3, pad_multiple=8)(Image.of(voxels, grid), 3)
    returned = bring_back(prepared.values, prepared.grid, grid, ADDS)
    lost = returned.share_lost * np.abs(prepared.values).sum(dtype=np.float64)
    whole = prepared.values.sum(dtype=np.float64)
    assert returned.sum_on_image == pytest.approx(whole, abs=lost + 1e-5 * whole)
    assert np.corrcoef(returned.values.ravel(), voxels.ravel())[0, 1] > 0.8
