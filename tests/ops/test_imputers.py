import pytest
import torch

from voxplain.errors import InputError, OptionError
from voxplain.ops.imputers import IMPUTERS, imputed, imputer


def image(*space, channels=2, seed=0):
    return torch.randn(1, channels, *space, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def corner(x, side=2):
    removed = torch.zeros(1, *x.shape[2:], dtype=torch.bool)
    removed[(slice(None), *[slice(0, side)] * (x.ndim - 2))] = True
    return removed


@pytest.mark.parametrize("space", [(6, 7), (4, 5, 6)])
@pytest.mark.parametrize("kind", [*IMPUTERS, 0.5])
def test_only_removed_voxels_change(kind, space):
    x = image(*space)
    removed = corner(x)
    found = imputed(x, removed, imputer(x, kind, reference=image(*space, seed=1)))
    kept = ~removed[:, None].expand_as(x)
    assert torch.equal(found[kept], x[kept])
    assert not torch.equal(found, x)


def test_zero_is_zero():
    x = image(5, 6)
    assert (imputed(x, corner(x), imputer(x, "zero"))[0, :, :2, :2] == 0).all()


def test_a_number_is_put_in_place():
    x = image(5, 6)
    assert (imputed(x, corner(x), imputer(x, -1000.0))[0, :, :2, :2] == -1000).all()


def test_mean_is_that_of_each_channel():
    x = image(5, 6)
    torch.testing.assert_close(imputed(x, corner(x), imputer(x, "mean"))[0, :, 0, 0], x.mean((0, 2, 3)))


def test_tissue_is_the_mean_of_what_is_not_zero():
    x = image(5, 6)
    x[:, :, :, 3:] = 0
    found = imputed(x, corner(x), imputer(x, "tissue"))
    torch.testing.assert_close(found[0, :, 0, 0], x[0, :, :, :3].mean((1, 2)))


def test_tissue_is_the_mean_of_the_body_where_it_is_given():
    x, body = image(5, 6), torch.zeros(5, 6, dtype=torch.bool)
    body[1:3, 2:5] = True
    found = imputed(x, corner(x), imputer(x, "tissue", body=body))
    torch.testing.assert_close(found[0, :, 0, 0], x[0, :, 1:3, 2:5].mean((1, 2)))


def test_an_empty_channel_has_no_tissue_and_stays_zero():
    x = image(5, 6)
    x[:, 1] = 0
    assert imputed(x, corner(x), imputer(x, "tissue"))[0, 1, 0, 0] == 0


def test_an_empty_body_is_refused():
    with pytest.raises(InputError, match="the body must hold at least one voxel"):
        imputer(image(5, 6), "tissue", body=torch.zeros(5, 6, dtype=torch.bool))


def test_the_mirror_shows_the_other_side_of_the_columns_in_2d():
    x = image(5, 6)
    found = imputed(x, corner(x), imputer(x, "mirror"))
    assert torch.equal(found[0, :, 1, 0], x[0, :, 1, 5])


def test_the_mirror_shows_the_other_side_of_the_first_axis_in_3d():
    x = image(4, 5, 6)
    found = imputed(x, corner(x), imputer(x, "mirror"))
    assert torch.equal(found[0, :, 0, 1, 1], x[0, :, 3, 1, 1])


def test_the_mirror_axis_can_be_chosen():
    x = image(4, 5, 6)
    found = imputed(x, corner(x), imputer(x, "mirror", mirror_axis=2))
    assert torch.equal(found[0, :, 1, 1, 0], x[0, :, 1, 1, 5])


def test_a_mirror_axis_beyond_the_image_is_refused():
    with pytest.raises(OptionError, match="mirror_axis must be 0 to 1 for this image, got 2"):
        imputer(image(5, 6), "mirror", mirror_axis=2)


def test_the_reference_is_the_first_of_the_given_images():
    x, others = image(5, 6), torch.cat([image(5, 6, seed=1), image(5, 6, seed=2)])
    found = imputed(x, corner(x), imputer(x, "reference", reference=others))
    assert torch.equal(found[0, :, 0, 0], others[0, :, 0, 0])


@pytest.mark.parametrize("reference", [None, torch.zeros(1, 2, 6, 5)])
def test_a_reference_that_is_missing_or_of_another_shape_is_refused(reference):
    with pytest.raises(InputError, match=r"reference image must be \(2, 5, 6\) like the input, got"):
        imputer(image(5, 6), "reference", reference=reference)


def test_an_unknown_imputer_is_refused():
    with pytest.raises(OptionError, match="unknown fill 'blurr'"):
        imputer(image(5, 6), "blurr")


def test_neighbours_carry_a_little_noise_of_each_channels_own_size():
    x = image(40, 50)
    x[:, 1] *= 1000
    removed = torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(3)) < 0.5
    one, other = (imputed(x, removed, imputer(x, "neighbours", seed=seed)) for seed in (0, 1))
    apart = (one - other)[0][:, removed[0]].std(dim=1) / x.std((0, 2, 3))
    torch.testing.assert_close(apart, torch.full((2,), 0.01 * 2**0.5, dtype=torch.float64), rtol=0.1, atol=0)


def test_the_noise_of_a_seed_is_the_same_for_every_mask():
    x = image(8, 9)
    fill = imputer(x, "neighbours", seed=4)
    removed = torch.stack([corner(x)[0], torch.ones(8, 9, dtype=torch.bool)])
    assert torch.equal(fill(removed)[:1], fill(removed[:1]))
