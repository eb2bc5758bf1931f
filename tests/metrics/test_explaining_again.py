"""What metrics of methods share, keep and say when something fails."""

import gc
import weakref

import pytest
import torch

from tests.metrics.explaining import Counting, case, explain
from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError
from voxplain.metrics import metric
from voxplain.metrics.base_method import Second, measure_methods
from voxplain.score import randomised
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Access


def test_networks_are_randomised_once_for_all_cases_methods_and_metrics(monkeypatch):
    """Quantus copies the model anew for each batch and metric."""
    drawn = []
    original = randomised.randomise
    monkeypatch.setattr(randomised, "randomise", lambda part, seed: (drawn.append(seed), original(part, seed)))
    score, x = case()
    cases = [(score, x), (score, batch(2, count=1, seed=5))]
    measure_methods(
        [metric("mprt"), metric("mprt(similarity='ssim')")], cases, [explain("gradient"), explain("input_x_gradient")]
    )
    assert len(drawn) == 4  # once a layer


def test_at_most_one_randomised_network_is_alive():
    alive, most = [], []
    ask = explain("gradient")

    def watched(score, x):
        if not any(one() is score.model.module for one in alive):
            alive.append(weakref.ref(score.model.module))
        gc.collect()
        most.append(sum(one() is not None for one in alive))
        return ask(score, x)

    score, x = case()
    metric("mprt(stages=0)")(score, x, watched)
    assert max(most) == 2  # the model itself and one copy
    assert len(most) == 5


def test_maps_of_equal_inputs_are_made_once_for_all_metrics():
    counting = Counting()
    score, x = case()
    names = ["max_sensitivity", "avg_sensitivity", "local_lipschitz", "relative_input_stability"]
    together = measure_methods([metric(f"{name}(samples=3)") for name in names], [(score, x)], [counting])
    assert len(counting.asked) == 1 + 3
    alone = [metric(f"{name}(samples=3)")(score, x, explain("gradient")) for name in names]
    assert [found[0][0] for found in together] == alone


def test_the_same_metric_twice_gives_the_same_number_twice():
    score, x = case()
    spec = "max_sensitivity(samples=2)"
    one, other = measure_methods([metric(spec), metric(spec)], [(score, x)], [explain("gradient")])
    assert one == other
    assert one[0][0].numbers["neighbours"] == 2


def test_numbers_are_those_of_metric_case_and_method():
    score, x = case()
    cases, methods = [(score, x), (score, batch(2, count=1, seed=7))], ["gradient", "input_x_gradient"]
    specs = ["mprt(stages=2)", "avg_sensitivity(samples=2)"]
    together = measure_methods([metric(spec) for spec in specs], cases, [explain(name) for name in methods])
    alone = [[[metric(spec)(*one, explain(name)) for name in methods] for one in cases] for spec in specs]
    assert together == alone
    assert len({found.value for rows in together for row in rows for found in row}) == 8


def test_a_method_that_fails_says_why_and_the_others_go_on():
    def broken(score, x):
        raise InputError("this method wants colours")

    score, x = case()
    ((failed, fine),) = measure_methods([metric("mprt(stages=1)")], [(score, x)], [broken, explain("gradient")])[0]
    assert (failed.value, failed.reason) == (None, "this method wants colours")
    assert fine.value is not None


def test_a_method_that_fails_under_one_change_says_why():
    ask = explain("gradient")

    def fragile(score, x):
        if score.model.module is not own.model.module:
            raise InputError("no map of a random network")
        return ask(score, x)

    own, x = case()
    found = measure_methods([metric("mprt"), metric("max_sensitivity(samples=1)")], [(own, x)], [fragile])
    assert found[0][0][0].reason == "no map of a random network"
    assert found[1][0][0].value > 0


def test_what_one_metric_cannot_have_does_not_harm_those_that_share_its_maps():
    model = Model.of(seeded(Awkward, 2, "classification"), access=Access.GRADIENT, reason="its layers are hidden")
    metrics = [metric("relative_representation_stability(layer='first')"), metric("max_sensitivity")]
    (hidden,), (fine,) = (
        rows[0] for rows in measure_methods(metrics, [(Score(model, "class_score"), case()[1])], [explain("gradient")])
    )
    assert "its layers are hidden" in hidden.reason
    assert fine.value > 0


def test_without_cases_or_methods_there_are_no_numbers():
    score, x = case()
    assert measure_methods([metric("mprt")], [], [explain("gradient")]) == [[]]
    assert measure_methods([metric("mprt")], [(score, x)], []) == [[[]]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [(float("nan"), "the map holds values that are NaN or infinite"), (0.0, "the map has no values but 0")],
)
def test_a_map_that_cannot_be_compared_is_not_applicable(values, reason):
    score, x = case()
    found = metric("mprt")(score, x, lambda score, x: torch.full_like(x, values))
    assert (found.value, found.reason) == (None, reason)


def test_a_map_that_explodes_under_a_random_network_does_not_spoil_the_number():
    ask = explain("gradient")
    own, x = case()

    def exploding(score, x):
        values = ask(score, x)
        return values if score.model.module is own.model.module else values.fill_(float("nan"))

    assert metric("mprt")(own, x, exploding).value == 1.0


def test_class_and_region_are_those_of_the_clean_input():
    """A second model that predicts another class is asked about the first one's."""
    own, x = case()
    others = [Model.of(seeded(Awkward, 2, "classification", seed=seed)) for seed in range(1, 9)]
    with torch.no_grad():
        own_class = int(own.model(x).argmax())
        other = next(one for one in others if int(one(x).argmax()) != own_class)
    counting = Counting()
    metric("repeatability")(own, x, counting, [Second(other)])
    assert [int(score.classes) for score, _ in counting.asked] == [own_class, own_class]


def test_a_frozen_score_stays_as_it_is():
    own, x = case()
    frozen = own.freeze(x)[1]
    counting = Counting()
    metric("avg_sensitivity(samples=1)")(frozen, batch(2, count=1, seed=8), counting)
    assert all(torch.equal(score.classes, frozen.classes) for score, _ in counting.asked)


def test_leaves_no_trace_on_the_users_model():
    module = seeded(Awkward, 2, "classification").train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    x, state = batch(2, count=1), torch.get_rng_state()
    image = x.clone()
    for spec in ("mprt", "input_invariance", "max_sensitivity(samples=1)", "random_logit"):
        assert metric(spec)(Score(module, "class_score"), x, explain("gradient")).value is not None
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert module.training
    assert torch.equal(x, image)
    assert torch.equal(torch.get_rng_state(), state)


def test_methods_of_a_case_share_the_passes_that_both_need():
    """A gradient and a gradient times input are one pass, of the clean image and of each neighbour."""
    names = ["gradient", "input_x_gradient"]
    single, shared = (case()[0] for _ in range(2))
    x = case()[1]
    metrics = [metric("max_sensitivity(samples=3)"), metric("mprt(stages=2)")]
    alone = measure_methods(metrics, [(single, x)], [explain(names[0])])
    both = measure_methods(metrics, [(shared, x)], [explain(name) for name in names])
    assert shared.ledger.backwards == single.ledger.backwards == 1 + 3 + 2
    assert shared.ledger.forwards == single.ledger.forwards
    assert [rows[0][0] for rows in both] == [rows[0][0] for rows in alone]


def test_without_memory_methods_are_asked_one_after_the_other_and_give_the_same_numbers():
    names, x = ["gradient", "input_x_gradient"], case()[1]
    scores = [case(budget=budget)[0] for budget in (10**9, 20 * x.nbytes)]
    metrics = [metric("max_sensitivity(samples=2)")]
    plenty, short = (measure_methods(metrics, [(one, x)], [explain(name) for name in names]) for one in scores)
    assert [one.ledger.backwards for one in scores] == [1 + 2, 2 * (1 + 2)]
    assert plenty == short
