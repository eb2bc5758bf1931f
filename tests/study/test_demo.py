import io
import json
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console

from voxplain.data.attribution import Attribution
from voxplain.data.load import load_image
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, OptionError
from voxplain.phantoms import CLASS_NAMES, lesion_slices, lesion_volumes
from voxplain.report import page
from voxplain.score.load import load_model
from voxplain.study.demo import Task, run_demo
from voxplain.study.explain import explain

SMALL = (
    Task("slice", partial(lesion_slices, shape=(32, 38), spacing_mm=5.4), "small_cnn_2d", 12, 2, held_out=6),
    Task(
        "volume", partial(lesion_volumes, shape=(16, 20, 14), spacing_mm=(9, 9, 11)), "small_cnn_3d", 6, 1, held_out=4
    ),
)
"""The demo's tasks at a size at which nothing is learned but everything happens."""


def rows(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def quiet(out, **options):
    """The small demo and what it said."""
    said = io.StringIO()
    told = Console(file=said)
    folder = run_demo(out, tasks=SMALL, progress=told, results=told, **options)
    return folder, said.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return quiet(tmp_path_factory.mktemp("demo") / "out")


def test_every_method_has_a_map_of_every_task(demo):
    folder, _ = demo
    assert len(rows(folder)) == 8
    assert all((folder / row["map"]).is_file() for row in rows(folder))
    assert {row["case"].split("-")[0] for row in rows(folder)} == {"slice", "volume"}


def test_every_map_passed_its_checks(demo):
    assert {row["certificate"] for row in rows(demo[0])} == {"passed"}


def test_the_folder_is_a_run_folder_with_a_page(demo):
    folder, _ = demo
    written = {path.name for path in folder.iterdir()}
    assert {"plan.toml", "rows.jsonl", "table.csv", "log.txt", "cases", "maps", "networks"} <= written
    text = page.write(folder).read_text()
    assert all(case in text for case in {row["case"] for row in rows(folder)})


def test_nothing_of_the_work_is_left_behind(demo):
    assert not [path for path in demo[0].rglob("*") if path.name.startswith(".")]


def test_says_for_each_map_what_lies_in_the_lesion_against_chance(demo):
    folder, said = demo
    first = rows(folder)[0]
    line = next(line for line in said.splitlines() if line.startswith("  gradient  "))
    assert f"{first['share_in_mask']:.1%}, {first['share_in_mask'] / first['mask_share']:.0f} x chance" in line
    assert said.count("x chance") + said.count("nothing to measure") == 8


def test_the_explained_case_has_a_lesion_the_network_was_not_trained_on(demo):
    folder, _ = demo
    facts = json.loads(next((folder / "cases").glob("slice*/case.json")).read_text())
    seen = {phantom.image.content_hash for phantom in SMALL[0].make(12, seed=0)}
    assert (facts["label"], facts["split"]) == ("lesion", "held-out")
    assert facts["content_sha256"] not in seen


def test_the_files_give_the_same_map_again(demo):
    folder, _ = demo
    row = next(row for row in rows(folder) if row["method"] == "integrated_gradients" and "volume" in row["case"])
    model = load_model("small_cnn_3d", weights=folder / "networks" / "volume.safetensors", class_names=CLASS_NAMES)
    image = load_image(folder / "cases" / row["case"] / "image.nii.gz")
    prepare = Prepare.read(folder / "networks" / "volume.toml")
    again = explain(model, image, row["method"], prepare=prepare, target=row["target"])
    first = Attribution.load(folder / row["map"])
    assert np.allclose(again.values, first.values, atol=1e-6 * np.abs(first.values).max())


def test_the_same_seed_gives_the_same_bytes(demo, tmp_path):
    first, second = demo[0], quiet(tmp_path / "again")[0]
    for row in rows(first):
        assert (first / row["map"]).read_bytes() == (second / row["map"]).read_bytes()


def test_a_second_start_in_the_same_folder_works(tmp_path):
    folder, _ = quiet(tmp_path)
    before = rows(folder)[0]["score"]
    assert rows(quiet(tmp_path)[0])[0]["score"] == before


def test_another_seed_explains_another_head(demo, tmp_path):
    other, _ = quiet(tmp_path, seed=1)
    contents = [
        json.loads(next((folder / "cases").glob("volume*/case.json")).read_text())["content_sha256"]
        for folder in (demo[0], other)
    ]
    assert contents[0] != contents[1]


def test_another_seed_does_not_overwrite_a_demo(demo):
    with pytest.raises(InputError, match="holds another run"):
        quiet(demo[0], seed=1)


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
        quiet(tmp_path)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_networks_solve_their_task_and_the_maps_find_the_lesion(tmp_path, seed):
    said = io.StringIO()
    told = Console(file=said)
    folder = run_demo(tmp_path, seed=seed, progress=told, results=told)
    right = [int(line.split()[3]) for line in said.getvalue().splitlines() if "has not seen" in line]
    assert min(right) >= 36
    assert all(row["share_in_mask"] > 10 * row["mask_share"] for row in rows(folder))
