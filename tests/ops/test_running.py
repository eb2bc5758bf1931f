"""Mean and variance do not depend on how the samples were cut."""

import pytest
import torch

from voxplain.ops.running import RunningMean


@pytest.mark.parametrize("cuts", [[20], [1] * 20, [7, 0, 13]])
def test_moments_are_those_of_all_samples_at_once(cuts):
    samples = torch.randn(20, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1e6
    running = RunningMean((3, 4))
    for piece in samples.split(cuts):
        running.add(piece)
    torch.testing.assert_close(running.mean, samples.mean(dim=0), rtol=1e-14, atol=0)
    torch.testing.assert_close(running.variance, samples.var(dim=0), rtol=1e-8, atol=0)
    torch.testing.assert_close(running.standard_error, samples.var(dim=0).div(20).sqrt(), rtol=1e-8, atol=0)


def test_one_sample_has_no_error_that_could_be_told():
    running = RunningMean((2,))
    running.add(torch.ones(1, 2))
    assert running.standard_error.isnan().all()
