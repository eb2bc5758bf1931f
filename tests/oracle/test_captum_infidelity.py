import pytest
import torch
from captum.metrics import infidelity

from tests.metrics.linear import noise
from tests.metrics.test_infidelity import watched
from tests.nets import Awkward, batch, seeded


@pytest.mark.parametrize("kind", ["patch", "noise"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("rank", [2, 3])
def test_is_that_of_captum_over_the_same_perturbations(rank, scaled, kind):
    x = batch(rank, count=1)
    module = seeded(Awkward, rank, "classification")
    toward = torch.func.grad(lambda one: module(one)[0, 1])(x)[0]
    values = toward + 0.1 * toward.std() * noise(x[0], 1)[0]
    found, shown, _ = watched(f"infidelity(perturbation='{kind}', scaled={scaled}, samples=9)", x, values, rank=rank)
    theirs = infidelity(
        module, lambda _: (x - shown, shown), x, values[None], target=1, n_perturb_samples=9, normalize=scaled
    )
    assert found[0].numbers["scale"] > 0, "the test needs a map that points the right way: Captum turns others round"
    assert found[0].value == pytest.approx(float(theirs))
