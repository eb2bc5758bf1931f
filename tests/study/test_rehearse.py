"""The dry run: the run costs what it said, and nothing is run or written."""

import numpy as np
import pytest
import torch

from tests.nets import Awkward, seeded
from tests.specs import SPECS
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.methods import method, table
from voxplain.score.model import Model
from voxplain.score.rehearsal import rehearsed
from voxplain.score.score import Score
from voxplain.score.target import target
from voxplain.space.grid import Grid
from voxplain.study.plan import Plan
from voxplain.study.rehearse import forecast
from voxplain.study.run import run

SHAPE = (14, 13, 12)

SEARCHES = ("hierarchical_occlusion",)
"""What is asked next depends on what was heard, which the dry run makes up."""


def image(seed: int) -> Image:
    values = np.random.default_rng(seed).normal(100, 20, (2, *SHAPE))
    return Image.of(values, Grid(SHAPE, np.eye(4)), identifier=f"case{seed}")


def plan(*specs: str, **options) -> Plan:
    model = Model.of(seeded(Awkward, 3, "classification", channels=2).float())
    return Plan(model, Prepare(zscore=True), (None,), tuple(map(method, specs)), references=(image(1),), **options)


def costs(found):
    """Forwards and backwards by method."""
    return {cost.method: (cost.forwards, cost.backwards) for cost in found.costs if not cost.error}


def test_every_method_costs_what_the_dry_run_said(tmp_path):
    asked = plan(*(SPECS.get(name, name) for name in table()), every=True)
    found = forecast(asked, Case("c", image(0)))
    outcome = run(asked, [Case("c", image(0))], tmp_path / "out")
    rows = {row["method"]: (row["forwards"], row["backwards"]) for row in outcome.rows if row["status"] == "done"}
    told = costs(found)
    assert {name: told[name] for name in rows if not name.startswith(SEARCHES)} == {
        name: cost for name, cost in rows.items() if not name.startswith(SEARCHES)
    }
    assert len(rows) > 30


@pytest.mark.parametrize("together", [True, False])
def test_shared_passes_count_once(together, tmp_path):
    specs = ("gradient", "input_x_gradient", "guided_backprop", "deconvnet", "lrp", "integrated_gradients(steps=4)")
    asked = [plan(*specs)] if together else [plan(spec) for spec in specs]
    found = [forecast(one, Case("c", image(0))) for one in asked]
    outcomes = [run(one, [Case("c", image(0))], tmp_path / str(number)) for number, one in enumerate(asked)]
    for one, outcome in zip(found, outcomes, strict=True):
        assert sum(row["forwards"] for row in outcome.rows) == one.forwards - one.looks
        assert sum(row["backwards"] for row in outcome.rows) == one.backwards


def test_several_targets_and_two_rounds(tmp_path):
    asked = plan("gradient", "occlusion(window=5)", verify=True)
    asked = Plan(asked.model, asked.prepare, tuple(map(target, ("class_score(0)", "class_score(2)"))), asked.methods)
    found = forecast(asked, Case("c", image(0)))
    assert [cost.target for cost in found.costs] == ["class_score(index=0)"] * 2 + ["class_score(index=2)"] * 2
    outcome = run(asked, [Case("c", image(0))], tmp_path / "out")
    assert [(row["forwards"], row["backwards"]) for row in outcome.rows] == [*costs_in_order(found)]


def costs_in_order(found):
    return [(cost.forwards, cost.backwards) for cost in found.costs]


def test_the_network_itself_hardly_runs():
    runs = 0

    class Counting(Awkward):
        def forward(self, x):
            nonlocal runs
            runs += not x.is_meta and "Fake" not in type(x).__name__
            return super().forward(x)

    model = Model.of(seeded(Counting, 2, "classification").float())
    x = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    score = rehearsed(Score(model, "class_score(1)", chunk=8), model(x))
    before = runs
    for spec in ("rise(samples=50, cells=3)", "integrated_gradients(steps=50)", "lrp", "partition_shap(max_evals=60)"):
        method(spec)(score, x)
    assert runs - before <= 6, "twins of the network, one a kind of pass, are compared with it once"
    assert score.ledger.forwards >= 50 + 50 + 60
    assert score.ledger.backwards == 51


@pytest.mark.parametrize("engine", ["incremental", "dense"])
def test_windows_that_are_played_back_are_counted_too(engine, tmp_path):
    asked = plan(f"occlusion(window=4, engine='{engine}')", "region_ablation(background=0.5)")
    for number in range(2):  # the second time the network has been compared with whole forwards already
        found = forecast(asked, Case("c", image(0)))
        outcome = run(asked, [Case("c", image(0))], tmp_path / str(number))
        assert [(row["forwards"], row["backwards"]) for row in outcome.rows] == costs_in_order(found)
    assert (found.costs[0].notes[-1].startswith("incremental")) == (engine == "incremental")


def test_what_cannot_be_explained_is_told():
    found = forecast(plan("gradient", "attention_rollout", every=True), Case("c", image(0)))
    assert [bool(cost.error) for cost in found.costs] == [False, True]
    assert "the model must attend" in found.costs[1].error
