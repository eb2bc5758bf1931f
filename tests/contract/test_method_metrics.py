"""What every metric that has a method explain again promises, in 2D and 3D, for every task."""

import dataclasses
import math

import pytest
import torch

from tests.metrics.explaining import case, explain
from tests.nets import KINDS, Awkward, batch, seeded
from voxplain.errors import VoxplainError
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base import Need
from voxplain.metrics.base_method import MethodMetric, Second
from voxplain.score.model import Model
from voxplain.score.score import Score

SPECS = {
    "avg_sensitivity": "avg_sensitivity(samples=2)",
    "efficient_mprt": "efficient_mprt()",
    "input_invariance": "input_invariance()",
    "label_randomisation": "label_randomisation()",
    "local_lipschitz": "local_lipschitz(samples=2)",
    "max_sensitivity": "max_sensitivity(samples=2)",
    "mprt": "mprt(stages=2)",
    "nuisance": "nuisance(samples=2)",
    "random_logit": "random_logit()",
    "relative_input_stability": "relative_input_stability(samples=2)",
    "relative_output_stability": "relative_output_stability(samples=2)",
    "relative_representation_stability": "relative_representation_stability(samples=2)",
    "repeatability": "repeatability()",
    "reproducibility": "reproducibility()",
    "smooth_mprt": "smooth_mprt(stages=1, samples=2)",
}
"""Options small enough for a test; a metric without an entry here fails `test_every_metric_is_under_contract`."""

every_kind = pytest.mark.parametrize(("rank", "task"), KINDS)
every_metric = pytest.mark.parametrize("name", sorted(SPECS))


class Wider(Awkward):
    """The same network with one more weight: another architecture."""

    def __init__(self, rank, task):
        super().__init__(rank, task)
        self.gain = torch.nn.Parameter(torch.ones(1))


def seconds(rank, task):
    """A second model of each kind that a metric may want."""
    return [
        Second(Model.of(seeded(Awkward, rank, task, seed=1))),
        Second(Model.of(seeded(Wider, rank, task, seed=2))),
        Second(Model.of(seeded(Awkward, rank, task, seed=3)), shuffled=True),
    ]


def ask(name, rank, task, method="gradient", **options):
    score, x = case(rank, task, **options)
    return metric(SPECS[name])(score, x, explain(method), seconds(rank, task))


def test_every_metric_is_under_contract():
    assert set(SPECS) == {name for name, cls in METRICS.items() if issubclass(cls, MethodMetric)}


@every_kind
@every_metric
@pytest.mark.parametrize("method", ["gradient", "grad_cam(layer='second')"])
def test_gives_a_number_within_its_bounds_or_says_why_not(rank, task, name, method):
    found = ask(name, rank, task, method)
    if name == "random_logit" and task == "regression":
        assert found.reason == "the model has no other class"
        return
    assert found.reason == ""
    assert math.isfinite(found.value)
    least, most = METRICS[name].bounds
    assert least is None or found.value >= least
    assert most is None or found.value <= most


@every_metric
def test_equal_requests_give_equal_numbers(name):
    assert ask(name, 3, "classification") == ask(name, 3, "classification")


@every_metric
def test_chunks_of_one_and_of_many_agree(name):
    one, many = (ask(name, 2, "classification", chunk=chunk).value for chunk in (1, 7))
    assert one == pytest.approx(many, rel=1e-9)


@every_metric
def test_leaves_no_trace(name):
    module, x = seeded(Awkward, 2, "classification").train(), batch(2, count=1)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    image, random_state, others = x.clone(), torch.get_rng_state(), seconds(2, "classification")
    metric(SPECS[name])(Score(module, "class_score"), x, explain("gradient"), others)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(part.training for part in module.modules())
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())
    assert torch.equal(x, image)
    assert torch.equal(torch.get_rng_state(), random_state)


@every_metric
def test_an_error_of_the_network_becomes_the_reason(name):
    class Failing(Awkward):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("the head fell off")

    score = Score(seeded(Failing, 2, "classification"), "class_score(0)")
    found = metric(SPECS[name])(score, batch(2, count=1), explain("gradient"), seconds(2, "classification"))
    assert found.value is None
    assert "the head fell off" in found.reason
    assert torch.is_grad_enabled()


@every_metric
def test_a_network_that_answers_with_nan_has_no_number(name):
    class Lost(Awkward):
        def forward(self, x):
            return super().forward(x) * float("nan")

    score = Score(seeded(Lost, 2, "classification"), "class_score(0)")
    found = metric(SPECS[name])(score, batch(2, count=1), explain("gradient"), seconds(2, "classification"))
    assert (found.value, found.reason) == (None, "the map holds values that are NaN or infinite")


@every_metric
def test_declares_what_listings_show(name):
    cls = METRICS[name]
    assert cls.name == name
    assert cls.need is Need.METHOD
    for told in (cls.title, cls.citation, cls.better, cls.__doc__):
        assert told
    assert dataclasses.fields(cls) is not None


@every_metric
def test_an_unknown_option_is_refused(name):
    with pytest.raises(VoxplainError, match=f"{name}: unknown option 'sampels'"):
        metric(f"{name}(sampels=3)")
