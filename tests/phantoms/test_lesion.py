import numpy as np
import pytest

from voxplain.errors import InputError
from voxplain.phantoms import CLASS_NAMES, lesion_slices, lesion_volumes

MAKERS = (lesion_slices, lesion_volumes)


def centre_of_mass(mask):
    """World position of the middle of a mask."""
    return mask.grid.world(np.argwhere(mask.values[0] > 0)).mean(axis=0)


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_seed_gives_the_same_voxels(make):
    first, second = (make(2, seed=3)[1].image for _ in range(2))
    assert first.content_hash == second.content_hash


@pytest.mark.parametrize("make", MAKERS)
def test_another_seed_gives_other_voxels(make):
    assert not np.array_equal(make(1, seed=0)[0].image.values, make(1, seed=1)[0].image.values)


@pytest.mark.parametrize("make", MAKERS)
def test_a_phantom_does_not_depend_on_how_many_follow(make):
    alone = make(1, seed=5, labels=[1])[0]
    among = make(3, seed=5, labels=[1, 0, 1])[0]
    assert alone.image.content_hash == among.image.content_hash


def test_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()
    lesion_slices(1, seed=0)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("count", [8, 24])
def test_half_of_the_phantoms_have_a_lesion(count):
    assert sum(phantom.label for phantom in lesion_slices(count, seed=2, shape=(24, 28), spacing_mm=7)) == count // 2


def test_the_order_of_the_labels_is_random():
    labels = [phantom.label for phantom in lesion_slices(24, seed=2, shape=(24, 28), spacing_mm=7)]
    assert labels not in ([0, 1] * 12, [1, 0] * 12)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("seed", range(4))
def test_the_mask_lies_at_the_stated_place_in_the_world(make, seed):
    phantom = make(1, seed=seed, labels=[1])[0]
    assert np.linalg.norm(centre_of_mass(phantom.mask) - phantom.centre) < 0.3 * phantom.radius_mm


def disc(radius_mm):
    return np.pi * radius_mm**2 * 5


def ball(radius_mm):
    return 4 / 3 * np.pi * radius_mm**3


@pytest.mark.parametrize(("make", "volume"), [(lesion_slices, disc), (lesion_volumes, ball)])
def test_the_mask_has_about_the_size_of_its_radius(make, volume):
    phantoms = make(6, seed=1, labels=[1] * 6)
    ratio = [p.mask.values.sum() * p.mask.grid.voxel_volume / volume(p.radius_mm) for p in phantoms]
    assert 0.8 < np.mean(ratio) < 1.25


@pytest.mark.parametrize("make", MAKERS)
def test_the_lesion_is_brighter_than_what_it_replaced(make):
    sick, healthy = (make(1, seed=4, labels=[label])[0] for label in (1, 0))
    inside = sick.mask.values > 0
    assert sick.image.values[inside].mean() > 1.3 * healthy.image.values[inside].mean()


@pytest.mark.parametrize("make", MAKERS)
def test_the_lesion_is_the_only_difference_between_the_classes(make):
    sick, healthy = (make(1, seed=4, labels=[label])[0] for label in (1, 0))
    changed = sick.image.values[0] != healthy.image.values[0]
    far = np.linalg.norm(sick.image.grid.world(np.argwhere(changed)) - sick.centre, axis=-1) > 1.6 * sick.radius_mm
    assert changed.any()
    assert not far.any()


@pytest.mark.parametrize("make", MAKERS)
def test_a_phantom_without_a_lesion_has_an_empty_mask(make):
    assert not make(1, seed=0, labels=[0])[0].mask.values.any()


@pytest.mark.parametrize("make", MAKERS)
def test_the_lesion_lies_inside_the_head(make):
    phantom = make(1, seed=6, labels=[1])[0]
    assert phantom.body.values[phantom.mask.values > 0].all()


@pytest.mark.parametrize(("make", "shape"), [(lesion_slices, (48, 56)), (lesion_volumes, (22, 26, 18))])
def test_the_lesion_is_not_cut_off_by_a_picture_smaller_than_the_head(make, shape):
    for phantom in make(12, seed=8, labels=[1] * 12, shape=shape):
        axes = slice(0, 2 if phantom.mask.grid.is_2d else 3)
        grid, sides = phantom.image.grid, np.array(phantom.image.grid.spacing[axes])
        centre = grid.voxels(phantom.centre)[axes]
        room_mm = np.minimum(centre + 0.5, np.array(shape) - 0.5 - centre) * sides
        # The centre lies up to half a voxel from the voxel that was found to have room.
        assert (room_mm >= phantom.radius_mm + 3 - sides / 2).all()


def test_the_volume_is_oblique_and_anisotropic_in_mm():
    grid = lesion_volumes(1, seed=0)[0].image.grid
    steps = grid.affine[:3, :3] / grid.spacing
    assert grid.unit == "mm"
    assert grid.orientation == "LAS"
    assert grid.spacing == pytest.approx((3.8, 4.1, 4.8))
    assert 0.9 < np.abs(steps).max(axis=0).min() < 0.999


def test_the_volume_is_centred_where_it_was_planned():
    grid = lesion_volumes(1, seed=0)[0].image.grid
    assert grid.corners().mean(axis=0) == pytest.approx((3, -5, 8))


def test_the_slice_is_laid_out_as_a_radiologist_sees_it():
    grid = lesion_slices(1, seed=0)[0].image.grid
    assert grid.shape == (96, 112, 1)
    assert grid.orientation == "LPS"


def test_air_is_dark_and_the_brain_is_bright():
    phantom = lesion_volumes(1, seed=0, labels=[0])[0]
    body = phantom.body.values > 0
    assert phantom.image.values[body].mean() > 5 * phantom.image.values[~body].mean()


def test_the_head_is_longer_from_front_to_back_than_from_side_to_side():
    body = lesion_slices(1, seed=0)[0].body
    extent = np.ptp(body.grid.world(np.argwhere(body.values[0] > 0)), axis=0)
    assert 120 < extent[0] < extent[1] < 190


def test_labels_are_indices_of_the_class_names():
    assert CLASS_NAMES[1] == "lesion"


def test_refuses_labels_that_do_not_fit_the_count():
    with pytest.raises(InputError, match="labels must be 2 numbers of 0 or 1"):
        lesion_slices(2, seed=0, labels=[0, 2])


def test_refuses_a_negative_seed():
    with pytest.raises(InputError, match="seed must be at least 0, got -1"):
        lesion_slices(1, seed=-1)
