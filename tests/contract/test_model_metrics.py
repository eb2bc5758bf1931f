"""What every metric that asks the model promises, in 2D and 3D, for every task."""

import dataclasses
import math

import pytest
import torch

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.errors import VoxplainError
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base_model import ModelMetric
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Access

SPECS = {
    "deletion": "deletion(steps=4)",
    "insertion": "insertion(steps=4)",
    "morf_aopc": "morf_aopc(steps=4)",
    "lerf_aopc": "lerf_aopc(steps=4)",
    "abpc": "abpc(steps=4)",
    "delta_aupc": "delta_aupc(steps=4, permutations=2)",
    "monotonicity": "monotonicity(steps=4)",
    "road": "road(shares=[0.2, 0.6])",
    "infidelity": "infidelity(samples=4)",
    "sensitivity_n": "sensitivity_n(shares=[0.1, 0.5], samples=4)",
    "faithfulness_correlation": "faithfulness_correlation(samples=5)",
    "irof": "irof(segmenter='grid', segments=4)",
    "completeness": "completeness()",
    "modality_importance": "modality_importance()",
}
"""Options small enough for a test; a metric without an entry here fails `test_every_metric_is_under_contract`."""

every_kind = pytest.mark.parametrize(("rank", "task"), KINDS)
some_kinds = pytest.mark.parametrize(("rank", "task"), [(2, "classification"), (3, "segmentation")])
every_metric = pytest.mark.parametrize("name", sorted(SPECS))


def case(rank, task, network=None, **options):
    """A score above 0, an input and three maps, the last of one channel."""
    module = seeded(Awkward, rank, task) if network is None else network
    x = batch(rank, count=1)
    with torch.no_grad():
        module.head.bias += 10
    return (
        Score(module, target_for(task), **options),
        x,
        [*batch(rank, count=2, seed=7), batch(rank, channels=1, seed=8)[0]],
    )


def numbers(found):
    """The values, NaN where the metric does not apply."""
    return [math.nan if one.value is None else one.value for one in found]


def test_every_metric_is_under_contract():
    assert set(SPECS) == {name for name, cls in METRICS.items() if issubclass(cls, ModelMetric)}


@every_kind
@every_metric
def test_numbers_are_finite_and_within_their_bounds(rank, task, name):
    score, x, maps = case(rank, task)
    found = metric(SPECS[name])(score, x, maps)
    least, most = METRICS[name].bounds
    assert len(found) == 3
    for one in found[:2]:
        assert math.isfinite(one.value)
        assert least is None or one.value >= least - 1e-12
        assert most is None or one.value <= most + 1e-12
    assert (found[2].value is None) == (name == "modality_importance")


@some_kinds
@every_metric
def test_maps_together_equal_one_by_one(rank, task, name):
    score, x, maps = case(rank, task)
    together = metric(SPECS[name])(score, x, maps)
    alone = [metric(SPECS[name])(score, x, [one])[0] for one in maps]
    assert numbers(together) == pytest.approx(numbers(alone), rel=1e-9, abs=1e-12, nan_ok=True)


@some_kinds
@every_metric
def test_chunks_of_one_and_of_many_agree(rank, task, name):
    one, many = (metric(SPECS[name])(*case(rank, task, chunk=chunk)) for chunk in (1, 7))
    assert numbers(one) == pytest.approx(numbers(many), rel=1e-9, abs=1e-12, nan_ok=True)


@every_metric
def test_equal_requests_give_equal_numbers(name):
    assert metric(SPECS[name])(*case(3, "classification")) == metric(SPECS[name])(*case(3, "classification"))


@every_metric
def test_calls_of_the_model_are_enough(name):
    found = metric(SPECS[name])(*case(2, "classification", access=Access.CALLS))
    assert found[0].value is not None


@every_kind
@every_metric
def test_leaves_no_trace(rank, task, name):
    module = seeded(Awkward, rank, task).train()
    score, x, maps = case(rank, task, module)
    before = {key: held.clone() for key, held in module.state_dict().items()}
    held, random_state = [one.clone() for one in (x, *maps)], torch.get_rng_state()
    metric(SPECS[name])(score, x, maps)
    assert all(torch.equal(now, before[key]) for key, now in module.state_dict().items())
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())
    assert all(torch.equal(one, other) for one, other in zip((x, *maps), held, strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)


@every_metric
def test_leaves_no_hooks_after_an_error(name):
    class Failing(Awkward):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("the head fell off")

    model = Model.of(seeded(Failing, 2, "classification"))
    x = batch(2, count=1)
    with pytest.raises(VoxplainError, match="the head fell off"):
        metric(SPECS[name])(Score(model, "class_score(0)"), x, [x[0]])
    assert not any(part._forward_hooks or part._backward_hooks for part in model.module.modules())
    assert torch.is_grad_enabled()


@every_metric
def test_maps_of_single_precision_will_do(name):
    score, x, maps = case(2, "classification")
    exact, single = (metric(SPECS[name])(score, x, ones) for ones in (maps, [one.float() for one in maps]))
    assert numbers(single) == pytest.approx(numbers(exact), rel=1e-5, abs=1e-6, nan_ok=True)


@every_metric
def test_volumes_of_four_sequences_are_no_exception(name):
    """Quantus refuses five axes unless told, and fails on some metrics then."""
    module = seeded(Awkward, 3, "classification", 4)
    x = batch(3, count=1, channels=4)
    with torch.no_grad():
        module.head.bias += 10
    (found,) = metric(SPECS[name])(Score(module, "class_score(1)"), x, batch(3, count=1, channels=4, seed=7))
    assert math.isfinite(found.value)


@every_metric
def test_declares_what_listings_show(name):
    cls = METRICS[name]
    assert cls.name == name
    for told in (cls.title, cls.citation, cls.__doc__, cls.better, cls.need):
        assert told
    assert dataclasses.fields(cls) is not None
