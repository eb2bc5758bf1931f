import io
import json
import subprocess
import sys
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.load import load_image, load_mask
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, OptionError
from voxplain.phantoms import phantom
from voxplain.report import page
from voxplain.score.load import load_model
from voxplain.score.shipped import facts, shipped
from voxplain.study.demo import UNSEEN, run_demo
from voxplain.study.demo_tasks import TASKS, body, marks, named, near_age, outlined, segments
from voxplain.study.explain import Explainer, explain

SMALL = (
    replace(TASKS[0], methods=("gradient", "lrp(rules='z_plus', bias=False)"), looked_at=3),
    replace(TASKS[1], methods=("grad_cam", "gradient"), looked_at=4),
    replace(TASKS[2], methods=("grad_cam(layer='activation_24')", "region_ablation"), looked_at=1),
)
"""The demo's tasks with few phantoms and quick methods."""


def rows(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def case_of(folder, task):
    return next((folder / "cases").glob(f"{task}-*"))


def facts_of(folder, task):
    return json.loads((case_of(folder, task) / "case.json").read_text())


def quiet(out, tasks=SMALL, **options):
    """The small demo and what it said."""
    said = io.StringIO()
    told = Console(file=said)
    folder = run_demo(out, tasks=tasks, progress=told, results=told, **options)
    return folder, said.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return quiet(tmp_path_factory.mktemp("demo") / "out")


def test_every_method_has_a_map_of_every_task(demo):
    folder, _ = demo
    assert [row["case"].split("-")[0] for row in rows(folder)] == [task.name for task in SMALL for _ in task.methods]
    assert all((folder / row["map"]).is_file() for row in rows(folder))


def test_every_map_passed_its_checks(demo):
    assert {row["certificate"] for row in rows(demo[0])} == {"passed"}


def test_regression_classification_and_3d_segmentation_are_on_one_page(demo):
    folder, _ = demo
    kinds = [facts_of(folder, task.name)["prediction"]["kind"] for task in SMALL]
    assert kinds == ["regression", "classification", "segmentation"]
    assert min(facts_of(folder, "segmentation")["grid"]["shape"]) > 1
    text = page.write(folder).read_text()
    assert all(case in text for case in {row["case"] for row in rows(folder)})
    assert "never for patients" in text


def test_the_folder_is_a_run_folder_and_nothing_else_is_left_behind(demo):
    folder, _ = demo
    assert {"plan.toml", "rows.jsonl", "table.csv", "log.txt", "cases", "maps"} <= {
        one.name for one in folder.iterdir()
    }
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_says_how_often_each_network_is_right(demo):
    for task in SMALL:
        line = next(line for line in demo[1].splitlines() if line.startswith(f"{task.name}: phantom-"))
        assert f"is right ({task.means}) on " in line
        assert f" of {task.looked_at} " in line


@pytest.mark.parametrize("task", SMALL, ids=lambda task: task.name)
def test_the_explained_phantom_is_the_first_that_the_network_is_right_about(demo, task):
    made = phantom(task.phantom)
    explainer = Explainer(load_model(task.network), Prepare.read(shipped()[task.network] / "prepare.toml"))
    samples = [made.sample(number, UNSEEN) for number in range(task.looked_at)]
    right = [sample for sample in samples if task.right(explainer.ready(sample.image), sample)]
    assert case_of(demo[0], task.name).name == f"{task.name}-{right[0].identifier}"
    assert f"on {len(right)} of {task.looked_at} " in demo[1]


def test_no_network_was_trained_on_the_phantoms(demo):
    seeds = {facts(task.network)["recipe"]["seed"] for task in TASKS}
    assert all(seed < UNSEEN for seed in seeds)
    assert {facts_of(demo[0], task.name)["split"] for task in SMALL} == {"unseen"}
    for task in TASKS:  # the kind that the network knows, of high grade alone where a rim is asked about
        assert task.phantom.replace(", grade='high'", "") == facts(task.network)["recipe"]["phantom"]


def test_says_for_each_map_what_lies_at_the_truth_against_chance_in_what_is_not_air(demo):
    folder, said = demo
    case = case_of(folder, "classification")
    image, mask = load_image(case / "image.nii.gz"), load_mask(case / "mask.nii.gz").values[0] > 0
    chance = (mask & body(image)).sum() / body(image).sum()
    row = next(row for row in rows(folder) if row["method"] == "grad_cam")
    line = next(line for line in said.splitlines() if line.startswith("    grad_cam  "))
    assert f"{row['share_in_mask']:.1%}, {row['share_in_mask'] / chance:.1f} x chance" in line
    assert chance > 1.5 * row["mask_share"]
    assert said.count("x chance") + said.count("nothing to measure") == 6


def test_the_mask_is_where_evidence_must_lie(demo):
    made = phantom(TASKS[2].phantom).sample(0, UNSEEN)
    written = load_mask(case_of(demo[0], "segmentation") / "mask.nii.gz").values[0]
    assert np.array_equal(written > 0, made.mask.values[0] == 3)
    assert facts_of(demo[0], "segmentation")["label"] == f"{int(written.sum())} voxels in the enhancing rim"


def test_the_segmentation_is_shown_on_the_sequence_in_which_the_rim_is_bright(demo):
    assert facts_of(demo[0], "segmentation")["channels"] == ["t1ce", "flair", "t1", "t2"]


def test_the_files_give_the_same_map_again(demo):
    folder, _ = demo
    row = next(row for row in rows(folder) if row["model"] == "phantom-tumour-types" and row["method"] == "grad_cam")
    prepare = Prepare.read(shipped()[row["model"]] / "prepare.toml")
    image = load_image(folder / "cases" / row["case"] / "image.nii.gz")
    again = explain(load_model(row["model"]), image, row["method"], prepare=prepare, target=row["target"])
    first = Attribution.load(folder / row["map"])
    assert np.allclose(again.values, first.values, atol=1e-5 * np.abs(first.values).max())


def test_the_same_seed_gives_the_same_bytes(demo, tmp_path):
    first, second = demo[0], quiet(tmp_path / "again")[0]
    for row in rows(first):
        assert (first / row["map"]).read_bytes() == (second / row["map"]).read_bytes()


def test_another_seed_explains_others(demo, tmp_path):
    other, _ = quiet(tmp_path, SMALL[:1], seed=1)
    contents = [facts_of(folder, "regression")["content_sha256"] for folder in (demo[0], other)]
    assert contents[0] != contents[1]


def test_a_second_start_keeps_what_is_there(tmp_path):
    folder, first = quiet(tmp_path, SMALL[:2])
    before, times = rows(folder), [(folder / row["map"]).stat().st_mtime_ns for row in rows(folder)]
    _, said = quiet(tmp_path, SMALL[:2])
    assert rows(folder) == before
    assert [(folder / row["map"]).stat().st_mtime_ns for row in before] == times
    assert said.count("is already there") == 2
    assert said.split("already there\n")[-1] == first.split("maps of ")[-1].partition("\n")[2]


def test_an_interrupted_demo_goes_on_where_it_stopped(tmp_path):
    def interrupted(ready, sample):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quiet(tmp_path, (SMALL[0], replace(SMALL[1], right=interrupted)))
    assert [row["model"] for row in rows(tmp_path)] == ["phantom-pumpkin-age"] * 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    _, said = quiet(tmp_path, SMALL[:2])
    assert said.count("is already there") == 1
    assert len(rows(tmp_path)) == 4


def test_a_map_that_has_gone_is_made_again(tmp_path):
    folder, _ = quiet(tmp_path, SMALL[:1])
    lost = folder / rows(folder)[0]["map"]
    content = lost.read_bytes()
    lost.unlink()
    quiet(tmp_path, SMALL[:1])
    assert lost.read_bytes() == content


def test_another_seed_or_other_methods_do_not_overwrite_a_demo(demo):
    with pytest.raises(InputError, match="holds another run"):
        quiet(demo[0], seed=1)
    with pytest.raises(InputError, match="holds another run"):
        quiet(demo[0], TASKS)


def test_the_plan_names_the_weights_so_that_others_are_another_demo(demo):
    told = tomllib.loads((demo[0] / "plan.toml").read_text())["tasks"]
    assert [one["weights_sha256"] for one in told] == [load_model(task.network).weights_hash for task in SMALL]


def test_a_negative_seed_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(OptionError, match="seed must be at least 0, got -1"):
        quiet(tmp_path / "out", seed=-1)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="must be empty or a run folder"):
        quiet(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_leaves_threads_and_random_state_as_they_were(tmp_path):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(3)
    try:
        quiet(tmp_path, SMALL[:1])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.random.get_rng_state())


def test_marks_of_age_are_lesions_and_what_surrounds_a_removed_pixel():
    labels = np.zeros((9, 9, 1))
    labels[2, 2], labels[6, 6:8] = 1, 2
    found = marks(labels)[..., 0]
    assert found[1:4, 1:4].all()
    assert found[6, 6:8].all()
    assert found.sum() == 9 + 2


def test_right_is_near_the_age_the_true_type_or_a_rim_in_its_place():
    for task, right in zip(TASKS, (near_age, named, outlined), strict=True):
        sample = phantom(task.phantom).sample(0, 5)
        folder = shipped()[task.network]
        ready = Explainer(load_model(task.network), Prepare.read(folder / "prepare.toml")).ready(sample.image)
        told = ready.prediction
        if told.kind == "regression":
            said = told.scores[0]
            assert [right(ready, replace(sample, label=str(said + off))) for off in (-6, -4, 4, 6)] == [0, 1, 1, 0]
        elif told.kind == "classification":
            verdicts = {name: right(ready, replace(sample, label=name)) for name in told.class_names}
            assert verdicts == {name: name == told.class_names[told.predicted] for name in told.class_names}
        else:
            found = told.labels.numpy()
            masks = [Image.of(one, ready.prepared.grid, channels=("mask",)) for one in (found, found[::-1])]
            assert [right(ready, replace(sample, mask=mask)) for mask in masks] == [True, False]


def test_segments_are_the_tumour_s_parts_and_the_rest_of_the_head():
    sample = phantom(TASKS[2].phantom).sample(0, 5)
    found, labels = segments(sample).values[0], sample.mask.values[0]
    assert set(np.unique(found)) == {0, 1, 2, 3, 4}
    assert np.array_equal(found[labels > 0], labels[labels > 0])
    assert (found[0] == 0).mean() > 0.99  # the face of the volume is air, and its noise hardly ever reaches a tenth
    assert 0.1 < (found == 4).mean() < 0.5


@pytest.mark.slow
def test_the_whole_demo_finds_the_truth_above_chance_and_loads_no_training(tmp_path):
    heavy = "{'lightning', 'monai', 'torchvision', 'timm', 'sklearn'} & set(sys.modules)"
    lines = (
        f"from voxplain.cli.main import main; main(['demo', '--out', 'out']); import sys; assert not {heavy}, {heavy}"
    )
    done = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "out")
    assert len(found) == 9
    assert all(row["certificate"] == "passed" for row in found)
    assert all(row["share_in_mask"] > row["mask_share"] for row in found)
    assert "page: out" in done.stdout
    assert (tmp_path / "out" / "report" / "index.html").is_file()
