"""Cases x methods x metrics: every row is right, nothing is done twice, and what cannot be measured says why."""

import csv
import gc
import json
import shutil
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import voxplain as vx
from tests.nets import Awkward, seeded
from tests.study.evaluated import FAST, GRID, LOOKING, SIZE, cases, image, model, plan, rows_by, without_voxels
from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, InputError, OptionError
from voxplain.metrics import metric
from voxplain.metrics.base_method import Second
from voxplain.metrics.relevance_mass import RelevanceMass
from voxplain.ops.controls import CONTROLS
from voxplain.score.score import Score
from voxplain.score.target import target
from voxplain.space.grid import Grid
from voxplain.study.evaluate import evaluate
from voxplain.study.evaluate_asked import FACTS, Asked, asked_metrics, told
from voxplain.study.evaluate_cost import measured
from voxplain.study.evaluate_rows import MetricRows, key_of
from voxplain.study.explain import Explainer
from voxplain.study.plan import Plan
from voxplain.study.run import run

METHODS = 2
KILLED = ("sparseness", "deletion(steps=2)")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An evaluation of four cases of two patients by metrics of every kind."""
    out = tmp_path_factory.mktemp("done") / "run"
    return evaluate(plan(), cases(), out, metrics=FAST)


def test_every_case_method_control_and_metric_has_its_row(done):
    found = rows_by(done.rows(), "case", "method", "metric")
    assert len(found) == 4 * ((METHODS + len(CONTROLS)) * len(FAST) + METHODS * len(FACTS))
    assert {row["status"] for row in found.values()} <= {"done", "not applicable"}
    assert {row["control"] for row in found.values() if row["method"] in CONTROLS} == {True}
    assert {row["group"] for row in found.values()} == {"p0", "p1"}


def test_numbers_of_maps_are_those_of_the_maps_on_disk(done):
    found = rows_by(done.rows(), "case", "method", "metric")
    for case in cases():
        row = found[case.identifier, "gradient", "relevance_mass"]
        one = Attribution.load(next(done.folder.glob(f"maps/{case.identifier}/*/*/gradient.nii.gz")))
        expected = RelevanceMass(sign="absolute")(replace(one, grid=GRID), case.mask)
        assert row["value"] == pytest.approx(expected.value, rel=1e-6)
        assert row["chance"] == pytest.approx(12 / np.prod(SIZE))
        assert row["sign"] == "absolute"


def test_numbers_of_the_model_are_those_of_maps_on_the_networks_own_grid(done):
    asked, case = plan(), cases()[2]
    explainer = Explainer(asked.model, asked.prepare)
    ready = explainer.ready(case.image, case.mask)
    score = explainer.score(ready, asked.targets[0])
    values = vx.method("gradient")(score, ready.x).values[0]
    (expected,) = metric("deletion(steps=4, sign='absolute')")(score, ready.x, [values])
    row = rows_by(done.rows(), "case", "method", "metric")["c2", "gradient", "deletion(steps=4)"]
    assert row["value"] == pytest.approx(expected.value, rel=1e-6)
    assert row["curves"]["removed"]["values"] == pytest.approx(list(expected.curves["removed"].values), rel=1e-6)


def test_methods_explain_again_at_the_resolution_of_the_input(done):
    asked, case = plan(), cases()[1]
    ready = Explainer(asked.model, asked.prepare).ready(case.image)
    score = Score(asked.model, asked.targets[0], spacing_mm=ready.spacing_mm)

    def explain(own, x):
        return vx.method("gradient")(own, x).values

    expected = metric("efficient_mprt")(score, ready.x, explain)
    row = rows_by(done.rows(), "case", "method", "metric")["c1", "gradient", "efficient_mprt"]
    assert row["value"] == pytest.approx(expected.value, rel=1e-5)


def test_what_maps_take_is_measured_with_each_method_alone(done):
    found = rows_by(done.rows(), "case", "method", "metric")
    for name in ("gradient", "grad_cam(layer='second')"):
        assert found["c0", name, "forwards"]["value"] == 1.0
        assert found["c0", name, "backwards"]["value"] == 1.0
        assert found["c0", name, "seconds"]["value"] > 0


def test_every_case_has_a_random_map_of_its_own(done):
    found = rows_by(done.rows(), "case", "method", "metric")
    values = {found[f"c{number}", "random_map", "sparseness"]["value"] for number in range(4)}
    assert len(values) == 4


def test_summary_averages_cases_within_patients_and_has_intervals(done):
    group = next(one for one in done.summary["groups"] if one["metric"] == "sparseness")
    mean = next(one for one in group["means"] if one["method"] == "gradient")
    values = {
        row["case"]: row["value"] for row in done.rows() if (row["method"], row["metric"]) == ("gradient", "sparseness")
    }
    first, second = (values["c0"] + values["c2"]) / 2, (values["c1"] + values["c3"]) / 2
    assert mean["value"] == pytest.approx((first + second) / 2)
    assert (mean["n"], mean["patients"]) == (4, 2)
    assert mean["low"] == pytest.approx(min(first, second))
    assert mean["high"] == pytest.approx(max(first, second))


def test_methods_are_ranked_without_controls_and_held_against_each_control(done):
    group = next(one for one in done.summary["groups"] if one["metric"] == "relevance_mass")
    assert len(group["ranking"]["mean_ranks"]) == METHODS
    assert len(group["pairs"]) == 1
    assert {one["second"] for one in group["against_controls"]} == set(CONTROLS)
    assert len(group["against_controls"]) == METHODS * len(CONTROLS)


def test_the_tables_hold_what_the_rows_hold(done):
    with (done.folder / "metrics.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(done.rows())
    assert json.loads((done.folder / "summary.json").read_text())["groups"]
    with (done.folder / "summary.csv").open() as stream:
        table = {(row["metric"], row["method"]): row for row in csv.DictReader(stream)}
    assert table["relevance_mass", "gradient"]["better"] == "higher"
    assert float(table["relevance_mass", "gradient"]["low"]) <= float(table["relevance_mass", "gradient"]["value"])


def test_the_same_command_again_measures_nothing(done, monkeypatch):
    before = (done.folder / "metrics.jsonl").read_bytes()
    monkeypatch.setattr("voxplain.study.evaluate_cases.explained", None)
    monkeypatch.setattr("voxplain.study.evaluate_again.measure_methods", None)
    evaluate(plan(), cases(), done.folder, metrics=FAST)
    evaluate(done.folder, metrics=FAST, model=model())
    assert (done.folder / "metrics.jsonl").read_bytes() == before


def test_a_run_folder_is_measured_as_the_plan_is(done, tmp_path):
    run(plan(), cases(), tmp_path / "run")
    again = evaluate(tmp_path / "run", metrics=FAST, model=model())
    ours = rows_by(again.rows(), "case", "method", "metric")
    theirs = rows_by(done.rows(), "case", "method", "metric")
    assert set(ours) == set(theirs)
    for key, row in ours.items():
        if key[2] not in FACTS:
            assert row["value"] == pytest.approx(theirs[key]["value"], rel=1e-5), key
            assert row["key"] == theirs[key]["key"]


def test_without_the_model_maps_are_looked_at_and_the_rest_is_said(done, tmp_path):
    run(plan(), cases(), tmp_path / "run")
    found = evaluate(tmp_path / "run")
    assert {row["metric"] for row in found.rows()} == {
        "relevance_mass", "relevance_rank", "pointing_game", "auprc", "sparseness",
    }  # fmt: skip
    assert "must ask the model" in found.left_out[0]
    value = rows_by(found.rows(), "case", "method", "metric")["c1", "gradient", "relevance_mass"]["value"]
    expected = rows_by(done.rows(), "case", "method", "metric")["c1", "gradient", "relevance_mass"]["value"]
    assert value == pytest.approx(expected, rel=1e-6)
    with pytest.raises(OptionError, match="deletion must ask the model; pass --model"):
        evaluate(tmp_path / "run", metrics=["deletion"])


def test_another_model_than_the_runs_is_refused(done):
    with pytest.raises(InputError, match="weights must be those of the run"):
        evaluate(done.folder, metrics=LOOKING, model=model(seed=5))


def test_a_kill_loses_only_what_was_being_measured(tmp_path, monkeypatch):
    """The third case breaks off; the second start measures only what is missing and ends as if nothing had been."""
    from voxplain.study import evaluate_cases

    whole = evaluate(plan(), cases(), tmp_path / "whole", metrics=KILLED)
    seen = []
    plain = evaluate_cases.measure_maps

    def breaking(job, opened, target, laid, wanted):
        seen.append(opened.row["case"])
        if len(seen) == 3:
            raise KeyboardInterrupt
        plain(job, opened, target, laid, wanted)

    monkeypatch.setattr(evaluate_cases, "measure_maps", breaking)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan(), cases(), tmp_path / "run", metrics=KILLED)
    found = evaluate(plan(), cases(), tmp_path / "run", metrics=KILLED)
    assert seen == ["c0", "c1", "c2", "c2", "c3"]
    ours, theirs = (rows_by(one.rows(), "case", "method", "metric") for one in (found, whole))
    assert set(ours) == set(theirs)
    assert all(ours[key]["value"] == theirs[key]["value"] for key in ours if key[2] not in FACTS)


def test_a_line_that_a_kill_cut_off_is_measured_again(tmp_path):
    evaluate(plan(), cases(2), tmp_path / "run", metrics=LOOKING)
    file = tmp_path / "run" / "metrics.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    found = evaluate(plan(), cases(2), tmp_path / "run", metrics=LOOKING)
    names = ("case", "method", "metric")
    assert sorted(map(str, rows_by(found.rows(), *names))) == sorted(
        map(str, rows_by([json.loads(line) for line in whole.splitlines()], *names))
    )


def test_further_metrics_join_the_rows_that_are_there(tmp_path):
    evaluate(plan(), cases(2), tmp_path / "run", metrics=["sparseness"])
    found = evaluate(tmp_path / "run", metrics=["entropy"])
    assert {row["metric"] for row in found.rows()} == {"sparseness", "entropy", *FACTS}


def test_a_case_that_changed_is_measured_anew_and_its_old_rows_go(tmp_path):
    first = evaluate(plan(), cases(2), tmp_path / "run", metrics=LOOKING).rows()
    changed = [replace(cases(2)[0], image=image(77, "c0")), cases(2)[1]]
    found = evaluate(plan(), changed, tmp_path / "run", metrics=LOOKING).rows()
    before, after = (rows_by(one, "case", "method", "metric") for one in (first, found))
    assert set(before) == set(after)
    assert before["c0", "gradient", "sparseness"]["value"] != after["c0", "gradient", "sparseness"]["value"]
    assert before["c1", "gradient", "sparseness"] == after["c1", "gradient", "sparseness"]


def test_without_masks_rows_say_so_and_the_run_ends_well(tmp_path):
    found = evaluate(plan(), cases(2, masks=False), tmp_path / "run", metrics=LOOKING)
    row = rows_by(found.rows(), "case", "method", "metric")["c0", "gradient", "relevance_mass"]
    assert (row["value"], row["status"], row["reason"]) == (None, "not applicable", "the case has no mask")
    assert found.failed == 0
    mean = found.summary["groups"][0]["means"][0]
    assert (mean["value"], mean["not_applicable"]) == (None, 2)


def test_a_case_that_cannot_be_explained_has_failed_rows_and_the_others_go_on(tmp_path):
    broken = [without_voxels(cases(3)[0]), *cases(3)[1:]]
    found = evaluate(plan(), broken, tmp_path / "run", metrics=LOOKING)
    rows = [row for row in found.rows() if row["case"] == "c0"]
    assert {row["status"] for row in rows} == {"failed"}
    assert all("must not be constant" in row["reason"] for row in rows)
    assert found.failed > 0
    mean = found.summary["groups"][0]["means"][0]
    assert mean["n"] == 2
    mended = evaluate(plan(), cases(3), tmp_path / "run", metrics=LOOKING)
    assert mended.failed == 0
    assert all(row["status"] == "done" for row in mended.rows())


def test_a_blank_map_fails_with_its_reason(tmp_path):
    asked = plan("grad_cam(layer='second')")
    network = asked.model.module
    with torch.no_grad():
        network.head.weight.zero_()
    found = evaluate(replace(asked, model=vx.Model.of(network)), cases(2), tmp_path / "run", metrics=LOOKING)
    own = [row for row in found.rows() if row["method"].startswith("grad_cam") and row["metric"] == "relevance_mass"]
    assert {row["status"] for row in own} == {"failed"}
    assert {row["reason"] for row in own} == {"the map has no positive values"}
    assert found.failed


def test_one_case_has_numbers_and_no_interval(tmp_path):
    found = evaluate(plan(), cases(1), tmp_path / "run", metrics=["sparseness"])
    mean = found.summary["groups"][0]["means"][0]
    assert mean["value"] is not None
    assert mean["low"] is None
    assert "one patient" in mean["interval"]
    assert found.summary["groups"][0]["ranking"] is None


def test_the_class_predicted_for_each_case_is_explained_where_no_target_is_named(tmp_path):
    found = evaluate(plan(targets=()), cases(2), tmp_path / "run", metrics=["deletion(steps=4)", "efficient_mprt"])
    assert {row["target"] for row in found.rows()} == {"class_score"}
    assert found.failed == 0


def test_layers_have_rows_of_their_own(tmp_path):
    asked = plan("grad_cam(layer=['first', 'second'])")
    found = evaluate(asked, cases(2), tmp_path / "run", metrics=["sparseness", "deletion(steps=4)", "efficient_mprt"])
    rows = rows_by(found.rows(), "case", "method", "layer", "metric")
    name = "grad_cam(layer=['first', 'second'])"
    for of in ("sparseness", "deletion(steps=4)", "efficient_mprt"):
        values = [rows["c0", name, layer, of]["value"] for layer in ("first", "second")]
        assert None not in values
        assert values[0] != values[1]


def test_second_models_are_asked_for_by_the_metrics_that_need_them(tmp_path):
    with pytest.raises(OptionError, match="repeatability compares with another model; pass --second-model"):
        evaluate(plan(), cases(2), tmp_path / "run", metrics=["repeatability"])
    found = evaluate(
        plan(), cases(2), tmp_path / "run", metrics=["repeatability", "label_randomisation"],
        second=[model(seed=3), Second(model(seed=4), shuffled=True)],
    )  # fmt: skip
    rows = rows_by(found.rows(), "case", "method", "metric")
    assert rows["c0", "gradient", "repeatability"]["value"] < 1
    assert rows["c0", "edge_map", "repeatability"]["value"] == pytest.approx(1.0)
    assert rows["c0", "edge_map", "label_randomisation"]["value"] == pytest.approx(0.0, abs=1e-9)


def test_the_body_limits_what_counts(tmp_path):
    found = []
    for body in ("all", "nonzero"):
        half = [
            replace(one, image=one.image.with_values(one.image.values * (np.arange(SIZE[0]) < 7)[None, :, None, None]))
            for one in cases(1)
        ]
        out = evaluate(plan(), half, tmp_path / "run", metrics=["outside_share", "relevance_mass"], body=body)
        found.append(rows_by(out.rows(), "case", "method", "metric"))
    every, nonzero = found
    assert every["c0", "gradient", "outside_share"]["status"] == "not applicable"
    assert nonzero["c0", "gradient", "outside_share"]["chance"] == pytest.approx(0.5)
    assert nonzero["c0", "gradient", "relevance_mass"]["chance"] > every["c0", "gradient", "relevance_mass"]["chance"]


def test_folders_that_are_none_and_plans_without_cases_are_refused(tmp_path):
    with pytest.raises(FileError, match="must be a run folder"):
        evaluate(tmp_path)
    with pytest.raises(InputError, match="pass cases and out"):
        evaluate(plan())
    with pytest.raises(InputError, match="at least one case"):
        evaluate(plan(), [], tmp_path / "run")


def test_cases_given_again_must_be_those_of_the_run(done, tmp_path):
    copy = shutil.copytree(done.folder, tmp_path / "run")
    other = [replace(cases()[0], image=image(99, "c0"))]
    found = evaluate(copy, other, metrics=["deletion(steps=2)"], model=model())
    own = [row for row in found.rows() if row["metric"] == "deletion(steps=2)"]
    assert {row["status"] for row in own if not row["control"]} == {"failed"}
    assert all("other voxels than in the run" in row["reason"] for row in own if not row["control"])


def test_unknown_metrics_are_named_with_the_nearest():
    with pytest.raises(OptionError, match="unknown metric 'deletoin'; did you mean 'deletion'"):
        asked_metrics(["deletoin"])


def test_all_leaves_out_what_needs_a_second_model_unless_there_is_one():
    plain = {one.metric.name for one in asked_metrics(["all", "road(patch=2)"])}
    assert "repeatability" not in plain
    assert {"deletion", "mprt", "road"} <= plain
    assert [one.name for one in asked_metrics(["all", "road(patch=2)"])].count("road") == 0
    assert "repeatability" in {one.metric.name for one in asked_metrics(["all"], second=True)}


def test_the_default_needs_no_second_model_and_exists():
    assert len(asked_metrics(None)) == 11
    assert not any(one.needs_second for one in asked_metrics(None))


def test_a_sign_that_is_named_holds_for_every_map():
    assert Asked.of("relevance_mass").of_map("absolute").sign == "absolute"
    assert Asked.of("relevance_mass").of_map("positive").sign == "positive"
    assert Asked.of("relevance_mass(sign='positive')").of_map("absolute").sign == "positive"
    assert Asked.of("deletion(sign='signed')").of_map("absolute").sign == "signed"
    assert Asked.of("mprt(sign='signed')").of_map("absolute").sign == "signed"
    assert Asked.of("sparseness").sign("absolute") is None


def test_facts_of_every_metric_are_known_by_its_spec():
    assert told("deletion(steps=4)").better == "lower"
    assert told("seconds").better == "lower"
    with pytest.raises(OptionError, match="unknown metric"):
        told("gone")


def test_rows_are_replaced_by_names_and_asked_for_by_key(tmp_path):
    store = MetricRows(tmp_path)
    row = {"case": "c", "target": "t", "method": "m", "layer": "", "metric": "x", "key": "1", "status": "done"}
    assert store.lacks(row)
    store.add([{**row, "value": 1.0}])
    assert not store.lacks(row)
    assert store.lacks({**row, "key": "2"})
    store.add([{**row, "value": 2.0, "key": "2", "status": "failed"}])
    assert store.lacks({**row, "key": "2"})
    assert [one["value"] for one in store.rows()] == [2.0]
    store.finish()
    assert [one["value"] for one in MetricRows(tmp_path).rows()] == [2.0]


def test_keys_tell_every_request_apart():
    assert key_of(a=1, b=2) == key_of(b=2, a=1)
    assert key_of(a=1) != key_of(a=2)


def test_memory_of_a_piece_of_work_is_what_it_takes_beyond_what_was_held():
    held = np.ones(4_000_000)
    with measured(torch.device("cpu")) as taken:
        np.ones(10_000_000).sum()  # 80 MB
    if taken.peak_megabytes is not None:
        # Pages and the allocator's rounding on top; nothing of the 32 MB held before.
        assert 75 < taken.peak_megabytes < 110
    assert held.sum() > 0


def test_python_face(tmp_path):
    found = vx.evaluate(plan("gradient"), cases(2), tmp_path / "run", metrics=["sparseness"])
    assert "<table>" in found._repr_html_()
    assert isinstance(cases(1)[0], Case)


def test_voxels_of_finished_cases_are_not_kept(tmp_path):
    own = cases(3)
    evaluate(plan(), own, tmp_path / "run", metrics=["sparseness", "deletion(steps=2)", "efficient_mprt"])
    kept = [name for one in own for name in ("image", "mask") if "values" in vars(getattr(one, name))]
    assert kept == []


def test_networks_are_randomised_once_for_all_cases_and_methods(tmp_path, monkeypatch):
    from voxplain.metrics import base_networks

    calls = []
    plain = base_networks.randomised
    monkeypatch.setattr(base_networks, "randomised", lambda *one, **two: calls.append(1) or plain(*one, **two))
    evaluate(plan(), cases(4), tmp_path / "run", metrics=["efficient_mprt"])
    assert len(calls) == 1


def test_portions_are_as_small_as_memory_asks_for(tmp_path, monkeypatch):
    from voxplain.study import evaluate_again

    sizes = []
    plain = evaluate_again.measure_methods
    monkeypatch.setattr(evaluate_again, "measure_methods", lambda *one: sizes.append(len(one[1])) or plain(*one))
    whole = evaluate(plan(), cases(3), tmp_path / "whole", metrics=["efficient_mprt"])
    asked = replace(plan(), budget=2 * 16 * 16 * 4 * 2 * (METHODS + len(CONTROLS)) * 4)
    found = evaluate(asked, cases(3), tmp_path / "small", metrics=["efficient_mprt"])
    assert sizes == [3, 2, 1]
    names = ("case", "method", "metric")
    ours, theirs = rows_by(found.rows(), *names), rows_by(whole.rows(), *names)
    for key, row in theirs.items():
        if key[2] not in FACTS:
            assert ours[key]["value"] == pytest.approx(row["value"], rel=1e-5)


def test_a_model_that_answers_nan_fails_every_case_with_the_reason(tmp_path):
    asked = plan()
    network = asked.model.module
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    found = evaluate(replace(asked, model=vx.Model.of(network)), cases(2), tmp_path / "run", metrics=LOOKING)
    assert found.failed == 2
    assert found.summary["groups"] == []
    errors = [json.loads(line)["error"] for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    assert all("finite scores, got nan" in one for one in errors)


def test_a_volume_that_is_segmented_is_measured_alike(tmp_path):
    rng = np.random.default_rng(3)
    grid = Grid((8, 10, 9), np.diag([1.0, 1.2, 2.0, 1.0]))
    mask = np.zeros(grid.shape)
    mask[2:5, 3:7, 2:6] = 1
    volume = Image.of(rng.normal(size=(2, *grid.shape)), grid, channels=("t1", "t2"), identifier="v")
    case = Case("v", volume, mask=Image.of(mask, grid, channels=("mask",), identifier="v"))
    network = vx.Model.of(seeded(Awkward, 3, "segmentation").float(), class_names=("a", "b", "c"))
    asked = Plan(
        network, Prepare(), (target("region(1)"),), (vx.method("gradient"), vx.method("grad_cam(layer='second')"))
    )
    metrics = (
        "auprc",
        "mass_distance",
        "deletion(steps=3)",
        "modality_importance",
        "max_sensitivity(samples=2)",
        "mprt",
    )
    found = evaluate(asked, [case], tmp_path / "run", metrics=metrics)
    rows = rows_by(found.rows(), "method", "metric")
    for name in metrics:
        row = rows["gradient", name]
        assert row["status"] == "done", row["reason"]
    again = evaluate(tmp_path / "run", metrics=["insertion(steps=3)"], model=network)
    assert rows_by(again.rows(), "method", "metric")["gradient", "insertion(steps=3)"]["status"] == "done"


def watched(count, alive, most):
    """Cases whose voxels are read when they are used, and how many of their arrays are alive at the most."""

    def read(number):
        gc.collect()
        values = np.random.default_rng(number).normal(100, 20, (1, *SIZE)).astype(np.float32)
        alive.append(weakref.ref(values))
        most.append(sum(one() is not None for one in alive))
        return values

    return [replace(one, image=Image(partial(read, n), GRID, identifier=one.identifier)) for n, one in
            enumerate(cases(count))]  # fmt: skip


def test_voxels_that_are_held_do_not_grow_with_the_number_of_cases(tmp_path, monkeypatch):
    monkeypatch.setattr("voxplain.study.evaluate_again.MOST_CASES", 2)
    held = {}
    for count in (3, 7):
        alive, most = [], []
        given = watched(count, alive, most)
        evaluate(plan("gradient"), given, tmp_path / str(count), metrics=["sparseness", "max_sensitivity(samples=1)"])
        held[count] = max(most)
        assert len(most) >= 2 * count  # read for the maps, and again for metrics that explain anew
        del given
    assert held[3] == held[7] <= 3
