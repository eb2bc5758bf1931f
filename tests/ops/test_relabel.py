import pytest
import torch

from voxplain.errors import OptionError
from voxplain.ops.relabel import FewRelabelled, few_relabelled


def labels(count, shape=(8, 8, 8)):
    """A map of oedema with `count` voxels of label 3."""
    found = torch.full(shape, 2)
    found.view(-1)[:count] = 3
    return found


def test_199_enhancing_voxels_become_necrosis():
    found = few_relabelled(labels(199), label=3, to=1, fewer_than=200)
    assert [(found == n).sum().item() for n in range(4)] == [0, 199, 512 - 199, 0]


def test_200_enhancing_voxels_stay():
    assert torch.equal(few_relabelled(labels(200), label=3, to=1, fewer_than=200), labels(200))


def test_the_map_given_is_not_changed():
    given = labels(5)
    for fewer_than in (2, 200):
        found = few_relabelled(given, label=3, to=1, fewer_than=fewer_than)
        found.fill_(0)
    assert torch.equal(given, labels(5))


def test_the_kind_of_number_stays():
    found = FewRelabelled(label=3, to=1, fewer_than=200)(labels(5).to(torch.uint8))
    assert found.dtype == torch.uint8


def test_it_says_what_it_does():
    words = FewRelabelled(label=3, to=1, fewer_than=200).words
    assert words == "fewer than 200 voxels of label 3 are given label 1"


def test_a_negative_label_is_refused():
    with pytest.raises(OptionError, match=r"label, to and fewer_than must be 0 or more"):
        FewRelabelled(label=-1, to=1, fewer_than=200)
