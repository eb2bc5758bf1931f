"""Questions asked together: the same maps as alone, fewer passes, and one error ends them all."""

import threading
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import voxplain as vx
from tests.nets import Awkward, batch, seeded
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.methods import Map, Method, method
from voxplain.score.score import Score
from voxplain.space.grid import Grid
from voxplain.study.explain import Explainer
from voxplain.study.sharing import HELD, SHARE, at_once, found_together
from voxplain.types import Access, Quantity

NAMES = ("gradient", "integrated_gradients(steps=3)", "grad_cam(layer='second')", "occlusion(window=4)")


def volume() -> Image:
    return Image.of(np.random.default_rng(0).normal(100, 20, (10, 9, 8)), Grid((10, 9, 8), np.eye(4)), identifier="c")


def net():
    return seeded(Awkward, 3, "classification", channels=1).float()


@dataclass(frozen=True, kw_only=True)
class Counting(Method):
    """Asks the model again and again, and perhaps breaks."""

    name = "counting"
    title: ClassVar[str] = "Counting"
    citation: ClassVar[str] = "none"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "none"

    passes: int = 40
    """How often it asks."""
    breaks: bool = False
    """Whether it ends in an error."""

    def _map(self, score, x):
        for number in range(self.passes):
            score(x + number)
        if self.breaks:
            raise InputError("counting broke")
        return Map(x, self.quantity, "logits", score=score(x), classes=torch.zeros(len(x)))


def test_maps_made_together_are_the_maps_made_alone_to_the_byte():
    module, image = net(), volume()
    for one, alone in zip(vx.explain(module, image, NAMES), NAMES, strict=True):
        found = vx.explain(module, image, alone)
        assert np.array_equal(one.values, found.values)
        assert one.provenance.key == found.provenance.key


def test_several_targets_of_a_case_share_the_forward():
    found = vx.explain(net(), volume(), "gradient", target=["class_score(0)", "class_score(2)", None])
    assert [one.target for one in found[:2]] == ["class_score(index=0)", "class_score(index=2)"]
    assert sum(one.provenance.record["forwards"] for one in found) == 1
    assert sum(one.provenance.record["backwards"] for one in found) == 3
    assert [one.provenance.record["questions"] for one in found] == [3, 3, 3]


def test_targets_come_before_methods():
    found = vx.explain(
        net(), volume(), ["gradient", "occlusion(window=5)"], target=["class_score(0)", "class_score(1)"]
    )
    assert [(one.target[-2], one.method.split("(")[0]) for one in found] == [
        ("0", "gradient"), ("0", "occlusion"), ("1", "gradient"), ("1", "occlusion"),
    ]  # fmt: skip


@pytest.mark.parametrize("several", [{"target": ["class_score(1)"]}, {"method": ["gradient"]}])
def test_a_list_of_one_gives_a_list_of_one(several):
    assert len(vx.explain(net(), volume(), **{"method": "gradient", **several})) == 1


def test_one_error_ends_all_questions_at_once_and_is_raised():
    score, x = Score(net(), "class_score(0)"), batch(3, channels=1).float()[:1]
    threads = threading.active_count()
    with pytest.raises(InputError, match="counting broke"):
        found_together([score] * 2, [Counting(passes=400), Counting(passes=2, breaks=True)], x, each=False)
    assert score.ledger.forwards < 20
    assert threading.active_count() == threads


def test_question_by_question_an_error_ends_its_own_only():
    score, x = Score(net(), "class_score(0)"), batch(3, channels=1).float()[:1]
    told: list[int] = []
    methods = [Counting(passes=5, breaks=True), Counting(passes=9), method("gradient")]
    broke, counted, gradient = found_together([score] * 3, methods, x, each=True, tick=told.append)
    assert str(broke) == "counting broke"
    assert torch.equal(counted.values, x)
    assert torch.equal(gradient.values, method("gradient")(score, x).values)
    assert told == [1, 2, 3]


def test_only_as_many_questions_as_memory_holds_are_answered_side_by_side():
    """Each question in flight holds its sums; here memory is for two of them."""
    running, most = 0, 0

    class Watched(Counting):
        def _map(self, score, x):
            nonlocal running, most
            running += 1
            most = max(most, running)
            found = super()._map(score, x)
            running -= 1
            return found

    x = batch(3, channels=1).float()[:1]
    score = Score(net(), "class_score(0)", budget=int(2.5 * HELD * x.nbytes / SHARE), chunk=1)
    told: list[int] = []
    assert at_once([score], x) == 2
    found = found_together([score] * 5, [Watched(passes=3)] * 5, x, each=False, tick=told.append)
    assert most == 2
    assert told == [1, 2, 3, 4, 5]
    assert all(torch.equal(one.values, x) for one in found)
    assert at_once([Score(net(), "class_score(0)", budget=1)], x) == 1


def test_a_bug_is_raised_and_not_kept_as_an_answer():
    class Buggy(Counting):
        def _map(self, score, x):
            raise ZeroDivisionError

    score, x = Score(net(), "class_score(0)"), batch(3, channels=1).float()[:1]
    with pytest.raises(ZeroDivisionError):
        found_together([score] * 2, [Buggy(), Counting()], x, each=True)


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
def test_verify_makes_everything_twice(names):
    found = vx.explain(net(), volume(), list(names), verify=True)
    told = [check for one in found for check in one.certificate.checks if check.name == "determinism"]
    assert [(check.outcome, check.sentence) for check in told] == [("passed", "made twice with equal bytes")] * len(
        names
    )


def test_the_runs_seed_reaches_the_score():
    class Seeded(Counting):
        def _map(self, score, x):
            return Map(torch.full_like(x, score.seed), self.quantity, "logits")

    assert (vx.explain(net(), volume(), Seeded(), seed=7).values == 7).all()


def test_numbers_of_a_map_may_be_many_a_sample():
    class Weights(Counting):
        def _map(self, score, x):
            numbers = {"weights": torch.tensor([[1.0, 2.0]]), "count": torch.tensor([3]), "words": "as they are"}
            return Map(x, self.quantity, "logits", numbers=numbers)

    numbers = vx.explain(net(), volume(), Weights()).numbers
    assert (numbers["weights"], numbers["count"], numbers["words"]) == ([1.0, 2.0], 3, "as they are")


def test_the_first_error_of_a_case_is_raised_by_maps():
    explainer = Explainer(vx.Model.of(net()))
    with pytest.raises(InputError, match="counting broke"):
        explainer.maps(explainer.ready(volume()), [(None, method("gradient")), (None, Counting(passes=1, breaks=True))])


def test_a_target_is_checked_without_a_method():
    module = net()
    with torch.no_grad():
        module.head.bias[0] = torch.nan
    explainer = Explainer(vx.Model.of(module))
    ready = explainer.ready(volume())
    explainer.check(ready, vx.ClassScore(1))
    with pytest.raises(InputError, match=r"^the model must give finite scores, got nan for case 'c'"):
        explainer.check(ready, vx.ClassScore(0))
    with pytest.raises(InputError, match="between 0 and 2, got 9"):
        explainer.check(ready, vx.ClassScore(9))
