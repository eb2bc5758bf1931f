"""Expected gradients: its law, closed form, the mean written out, its standard error, stopping, bad input, cost."""

import pytest
import torch

from tests.nets import Awkward, Linear, batch, seeded
from tests.test_costs import SLACK
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.methods.expected_gradients import ExpectedGradients
from voxplain.ops.draws import uniform
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])


def net(rank: int, count: int = 3, **options: object) -> Score:
    reference = batch(rank, count=count, seed=9)
    return Score(seeded(Awkward, rank, "classification"), "class_score(1)", reference=reference, **options)


@ranks
def test_equals_the_mean_over_its_draws_written_out(rank):
    score, x = net(rank, chunk=4), batch(rank, count=3)
    found = method("expected_gradients(samples=7, seed=5)")(score, x)
    draws = []
    for which, alpha in uniform(5, range(7), (2,)):
        start = score.reference[int(which * 3)]
        draws.append((x - start) * score.grad(start + alpha * (x - start)).gradient)
    draws = torch.stack(draws)
    torch.testing.assert_close(found.values, draws.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.standard_error, draws.std(0) / 7**0.5, rtol=1e-9, atol=1e-12)


@ranks
def test_sums_to_the_score_less_the_mean_score_of_the_references_in_expectation(rank):
    score, x = net(rank), batch(rank)
    found = method("expected_gradients(samples=1500)")(score, x)
    mean = torch.stack([score(image.expand_as(x)) for image in score.reference]).mean(0)
    torch.testing.assert_close(found.numbers["score_at_baseline"], mean)
    total = found.values.flatten(1).sum(1)
    torch.testing.assert_close(found.numbers["completeness_gap"], total - (score(x) - mean))
    assert (found.numbers["completeness_gap"].abs() <= 0.15 * (score(x) - mean).abs() + 0.02).all()


@ranks
def test_a_linear_score_and_one_reference_need_one_draw(rank):
    x, reference = batch(rank), batch(rank, count=1, seed=9)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("expected_gradients(samples=2)")(Score(module, "class_score(0)", reference=reference), x)
    torch.testing.assert_close(found.values, module.weight[0].detach() * (x - reference), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.standard_error, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_every_reference_and_the_whole_way_are_drawn():
    which, alpha = (uniform(0, range(300), (2,)) * torch.tensor([3, 10])).long().unbind(dim=1)
    assert set(which.tolist()) == {0, 1, 2}
    assert set(alpha.tolist()) == set(range(10))


def test_seeds_make_the_draws_and_the_score_has_one():
    x = batch(2)
    first = method("expected_gradients(samples=5)")(net(2, seed=3), x).values
    assert torch.equal(first, method("expected_gradients(samples=5, seed=3)")(net(2), x).values)
    assert not torch.equal(first, method("expected_gradients(samples=5, seed=4)")(net(2), x).values)


def test_each_sample_of_a_batch_stops_on_its_own():
    module = seeded(Linear, (2, 8, 10))
    reference = batch(2, count=2, seed=9)
    x = torch.cat([batch(2, count=1) * 50, batch(2, count=1)])
    spec = "expected_gradients(samples=64, tolerance=0.02)"
    score = Score(module, "class_score(0)", reference=reference)
    found = method(spec)(score, x)
    assert found.numbers["samples"].tolist() == [8, 64]
    for n in range(2):
        alone = method(spec)(score, x[n : n + 1])
        torch.testing.assert_close(found.values[n], alone.values[0], rtol=1e-10, atol=1e-12)
        assert alone.numbers["samples"] == found.numbers["samples"][n]
    error, largest = found.standard_error[0].amax(), found.values[0].abs().amax()
    assert error <= 0.02 * largest


@ranks
def test_costs_two_a_draw_and_the_image_and_the_references(rank):
    score = net(rank)
    method("expected_gradients(samples=4)")(score, batch(rank, count=2))
    assert score.ledger.forwards == pytest.approx(2 * (4 + 1 + 3), abs=SLACK)
    assert score.ledger.backwards == 2 * 4


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (None, "expected_gradients: reference images must be given, got none"),
        (torch.zeros(0, 2, 8, 10), "reference images must be given, got none"),
        (torch.zeros(1, 2, 8, 9), r"reference images must have the input's shape \(2, 8, 10\), got \(2, 8, 9\)"),
        (torch.full((1, 2, 8, 10), torch.inf), "reference images must be finite"),
    ],
)
def test_references_that_do_not_fit_are_refused(reference, sentence):
    score = Score(seeded(Awkward, 2, "classification"), "class_score(1)", reference=reference)
    with pytest.raises(InputError, match=sentence):
        method("expected_gradients(samples=2)")(score, batch(2))


def test_no_samples_are_refused():
    with pytest.raises(OptionError, match="expected_gradients: samples must be at least 1, got 0"):
        ExpectedGradients(samples=0)
