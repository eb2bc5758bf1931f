import numpy as np
import pytest
import torch
from scipy import ndimage

from tests.nets import batch
from voxplain.ops.controls import CONTROLS, centre_blob, edge_map, random_map

both_ranks = pytest.mark.parametrize("rank", [2, 3])
every_control = pytest.mark.parametrize("name", sorted(CONTROLS))


@both_ranks
@every_control
def test_a_control_is_one_finite_map_an_image(rank, name):
    x = batch(rank)
    found = CONTROLS[name](x)
    assert found.shape == (len(x), 1, *x.shape[2:])
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert found.dtype == x.dtype


@both_ranks
def test_edges_are_the_magnitude_of_scipys_sobel(rank):
    x = batch(rank)
    slopes = [ndimage.sobel(one, axis, mode="nearest") for one in x[0].numpy() for axis in range(rank)]
    np.testing.assert_allclose(edge_map(x)[0, 0].numpy(), np.sqrt(sum(slope**2 for slope in slopes)), atol=1e-12)


def test_a_flat_image_has_no_edges():
    assert not edge_map(torch.ones(1, 2, 5, 6)).any()


def test_random_maps_depend_on_the_seed_and_leave_the_global_state():
    x, before = batch(2), torch.get_rng_state()
    assert torch.equal(random_map(x, 1), random_map(x, 1))
    assert not torch.equal(random_map(x, 1), random_map(x, 2))
    assert not torch.equal(random_map(x)[0], random_map(x)[1])
    assert torch.equal(torch.get_rng_state(), before)


@both_ranks
def test_the_blob_peaks_in_the_middle_and_is_symmetric(rank):
    found = centre_blob(torch.zeros(2, 3, *(9, 7, 5)[:rank]))
    assert found[0, 0].flatten().argmax() == found[0, 0].numel() // 2
    torch.testing.assert_close(found, found.flip(*range(2, rank + 2)))
    assert found.max() == 1
