"""Jobs that run side by side share their passes, and nothing else changes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.score.activation_rules import DECONVOLVED, GUIDED
from voxplain.score.meeting import together
from voxplain.score.model import Model
from voxplain.score.score import Score

MODEL = Model.of(seeded(Awkward, 2, "classification"))
X = batch(2)


def jobs(*pairs: tuple[str, str]):
    def job(spec):
        return lambda score: method(spec)(score, X)

    return [(Score(MODEL, target), job(spec)) for spec, target in pairs]


def cost(work) -> float:
    with FlopCounterMode(display=False) as one:
        MODEL(X)
    with FlopCounterMode(display=False) as all_of_it:
        work()
    return all_of_it.get_total_flops() / one.get_total_flops()


PAIRS = [
    ("gradient", "class_score(0)"),
    ("gradient", "class_score(1)"),
    ("grad_cam(layer='second')", "class_score(0)"),
    ("grad_cam(layer='first')", "class_score(0)"),
    ("occlusion(window=4)", "probability(2)"),
    ("integrated_gradients(steps=3)", "margin(1)"),
]


def test_results_are_those_of_each_job_alone():
    for found, (spec, target) in zip(together(jobs(*PAIRS)), PAIRS, strict=True):
        alone = method(spec)(Score(MODEL, target), X)
        torch.testing.assert_close(found.values, alone.values, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found.score, alone.score, rtol=0, atol=0)
        assert torch.equal(found.classes, alone.classes)


def test_several_targets_share_the_forward():
    targets = [("gradient", f"class_score({n})") for n in range(3)]
    assert cost(lambda: together(jobs(*targets))) == pytest.approx(1 + 3, abs=0.02)


def test_layers_of_one_target_share_forward_and_backward():
    deepest = cost(lambda: method("grad_cam(layer='first')")(Score(MODEL, "class_score(0)"), X))
    asked = [(f"grad_cam(layer='{name}')", "class_score(0)") for name in ("first", "second", "drop")]
    # Each layer's weighted sum of channels is a product of its own; a second way back would add 0.7.
    assert cost(lambda: together(jobs(*asked))) == pytest.approx(deepest, abs=0.05)


def test_gradient_and_layers_of_one_target_share_the_backward():
    asked = [("gradient", "class_score(0)"), ("grad_cam(layer='second')", "class_score(0)")]
    assert cost(lambda: together(jobs(*asked))) == pytest.approx(2, abs=0.02)


def test_perturbed_batches_are_shared_between_targets():
    alone = cost(lambda: method("occlusion(window=4)")(Score(MODEL, "class_score(0)"), X))
    asked = [("occlusion(window=4)", f"class_score({n})") for n in range(3)]
    assert cost(lambda: together(jobs(*asked))) == pytest.approx(alone, abs=0.02)


def test_different_targets_do_not_share_a_number():
    found = together(jobs(("gradient", "class_score(0)"), ("gradient", "class_score(1)")))
    assert not torch.allclose(found[0].values, found[1].values)


def test_an_error_of_one_job_stands_in_its_place_and_the_others_go_on():
    found = together(jobs(("grad_cam(layer='head')", "class_score(0)"), ("gradient", "class_score(0)")))
    assert isinstance(found[0], InputError)
    assert found[1].values.shape == X.shape


def test_a_bug_ends_the_meeting_and_lets_the_others_clean_up():
    ended = []

    def bug(score):
        score(X)
        raise ZeroDivisionError("a bug")

    def waiting(score):
        try:
            score(X)
            score(X + 1)
        finally:
            ended.append(True)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        together([(Score(MODEL, "class_score(0)"), job) for job in (waiting, bug, waiting)])
    assert ended == [True, True]


def test_an_interrupt_ends_the_meeting():
    class Interrupted(Awkward):
        def forward(self, x):
            raise KeyboardInterrupt

    model = Model.of(seeded(Interrupted, 2, "classification"))
    with pytest.raises(KeyboardInterrupt):
        together([(Score(model, "class_score(0)"), lambda score: score(X))] * 3)


def test_a_job_finds_the_gradient_switch_as_it_left_it():
    seen = []

    def without(score):
        with torch.no_grad():
            score(X)
            seen.append(("without", torch.is_grad_enabled()))

    def with_it(score):
        seen.append(("with", torch.is_grad_enabled()))
        score(X)
        seen.append(("with", torch.is_grad_enabled()))

    with torch.no_grad():
        together([(Score(MODEL, "class_score(0)"), job) for job in (without, with_it, without)])
        assert not torch.is_grad_enabled()
    assert set(seen) == {("without", False), ("with", True)}
    assert torch.is_grad_enabled()


def test_a_meeting_inside_a_meeting_shares_with_all():
    def inner(score):
        return together([(score, lambda bound: bound.grad(X)), (score, lambda bound: bound.tap(X, ["second"]))])

    outer = [(Score(MODEL, "class_score(0)"), inner), *jobs(("gradient", "class_score(0)"))]
    assert cost(lambda: together(outer)) == pytest.approx(2, abs=0.02)


def test_methods_that_differ_in_their_backward_rules_share_the_forward():
    asked = [
        (Score(MODEL, "class_score(0)"), lambda score: score.grad(X)),
        (Score(MODEL, "class_score(0)"), lambda score: score.back(X, GUIDED)),
        (Score(MODEL, "class_score(0)"), lambda score: score.back(X, DECONVOLVED)),
    ]
    assert cost(lambda: together(asked)) == pytest.approx(1 + 3, abs=0.02)
    plain, guided, deconvolved = together(asked)
    torch.testing.assert_close(plain.gradient, Score(MODEL, "class_score(0)").grad(X).gradient, rtol=1e-12, atol=1e-14)
    for found, rules in ((guided, GUIDED), (deconvolved, DECONVOLVED)):
        alone = Score(MODEL, "class_score(0)").back(X, rules)
        torch.testing.assert_close(found.gradient, alone.gradient, rtol=1e-12, atol=1e-14)
        assert not torch.allclose(found.gradient, plain.gradient)
