"""Maps of several methods and models joined: the same numbers as the ensemble gives, and refusals in words."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import voxplain as vx
from tests.nets import Awkward, seeded
from voxplain.cli.main import main
from voxplain.data.image import Image
from voxplain.data.nifti import write_nifti
from voxplain.errors import InputError, OptionError
from voxplain.space.grid import Grid
from voxplain.types import Quantity

HOW = "rule='median', block=2, threshold=0.4"


def volume() -> Image:
    rng = np.random.default_rng(0)
    return Image.of(rng.normal(100, 20, (10, 9, 8)), Grid((10, 9, 8), np.diag([1.0, 1, 2, 1])), identifier="c")


def net(seed: int = 0):
    return seeded(Awkward, 3, "classification", channels=1, seed=seed).float()


def maps(*methods: str, seeds: tuple[int, ...] = (0,)):
    asked = {"target": "class_score(1)"}
    return [vx.explain(net(seed), volume(), method, **asked) for seed in seeds for method in methods]


def test_is_what_the_ensemble_of_the_same_members_says():
    ensemble = vx.explain(
        net(), volume(), f"ensemble(of=['input_x_gradient', 'occlusion(window=3)'], {HOW})", target="class_score(1)"
    )
    found = vx.fuse(maps("input_x_gradient", "occlusion(window=3)"), f"fusion({HOW})")
    # The ensemble works on the float32 tensor and the fusion on the saved float32 map: only the last digits may differ.
    np.testing.assert_allclose(found.values, ensemble.values, atol=1e-6)
    np.testing.assert_allclose(found.parts["agreement"], ensemble.parts["agreement"])
    np.testing.assert_allclose(found.numbers["rank_correlations"], ensemble.numbers["rank_correlations"], atol=1e-6)


def test_joins_models_and_names_each():
    found = vx.fuse(maps("occlusion(window=3)", seeds=(0, 1, 2)), "fusion(block=1)")
    assert found.numbers["members"] == ["Awkward: occlusion(window=3)"] * 3
    assert len(set(found.numbers["scores"])) == 3
    assert found.values.min() >= 0
    assert found.values.max() <= 1
    assert len(found.provenance.request["members"]) == 3


def test_derivatives_count_by_their_size():
    one = maps("gradient")[0]
    flipped = replace(one, values=-one.values)
    found = vx.fuse([one, flipped], "fusion(block=1, rule='median')")
    size = np.abs(one.values)
    np.testing.assert_allclose(found.values, (size - size.min()) / (size.max() - size.min()), atol=1e-6)


def test_weights_and_planes_of_a_single_slice_are_heeded():
    first, second = (np.random.default_rng(n).random((1, 9, 8, 1), dtype=np.float32) for n in range(2))
    one = vx.Attribution(first, Grid((9, 8, 1), np.eye(4)), Quantity.RELEVANCE, "a", "t")
    found = vx.fuse([one, replace(one, values=second)], "fusion(rule='median', weights=[1, 3], block=4)")
    assert found.values.shape == (1, 9, 8, 1)
    heavy, even = (
        vx.fuse([one, replace(one, values=second)], f"fusion(rule='product', weights={weights}, block=1)").values
        for weights in ("[1, 3]", "[1, 1]")
    )
    unit = [(part - part.min()) / (part.max() - part.min()) for part in (first, second)]
    np.testing.assert_allclose(heavy, unit[0] ** 0.25 * unit[1] ** 0.75, atol=1e-6)
    np.testing.assert_allclose(even, (unit[0] * unit[1]) ** 0.5, atol=1e-6)


def test_a_doubtful_and_a_blank_member_are_told():
    one, other = maps("occlusion(window=3)", "occlusion(window=5)")
    found = vx.fuse([one, replace(other, values=np.zeros_like(other.values))], "fusion(block=1)")
    assert found.notes == ("Awkward: occlusion(window=5) is constant here and adds nothing",)
    blank = vx.fuse([replace(one, values=np.zeros_like(one.values))] * 2)
    assert [check.name for check in blank.certificate.failures] == ["not constant"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grid": Grid((10, 9, 8), np.diag([1.0, 1, 2.5, 1]))}, "must lie on one grid"),
        ({"target": "class_score(2)"}, "must explain the same thing"),
        ({"numbers": {"class": 2}}, "must explain the same thing"),
    ],
)
def test_refuses_maps_that_do_not_belong_together(change, words):
    one, other = maps("occlusion(window=3)", "occlusion(window=4)")
    with pytest.raises(InputError, match=words):
        vx.fuse([one, replace(other, **change)])


def test_refuses_one_map_and_unfit_weights():
    one = maps("occlusion(window=3)")[0]
    with pytest.raises(InputError, match="at least two maps are needed, got 1"):
        vx.fuse([one])
    with pytest.raises(OptionError, match="weights must be one number a member"):
        vx.fuse([one, one], "fusion(weights=[1, 2, 3])")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two models of the same kind asked about the same two cases, of which the second run knows one more."""
    folder = tmp_path_factory.mktemp("runs")
    rows = []
    for number in range(3):
        image = volume().with_values(volume().values + number)
        write_nifti(folder / f"{number}.nii.gz", image.values, image.grid)
        rows.append({"image": f"{number}.nii.gz", "id": f"case{number}"})
    for name, count, channels in (("one", 2, (4, 8)), ("two", 3, (4, 6))):
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["image", "id"])
            writer.writeheader()
            writer.writerows(rows[:count])
        model = f"monai.networks.nets:Classifier(in_shape=(1,10,9,8), classes=3, channels={channels}, strides=(2,2))"
        given = ["--target", "class_score(1)", "--method", "gradient", "--method", "occlusion(window=3)"]
        asked = ["explain", "--model", model, "--cases", str(folder / f"{name}.csv"), *given]
        assert main([*asked, "--out", str(folder / name)]) == 0
    return folder


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_runs_are_joined_case_by_case_into_a_run_folder_with_a_page(runs, tmp_path):
    out = tmp_path / "fused"
    assert (
        main(["fuse", str(runs / "one"), str(runs / "two"), "--out", str(out), "--method", "occlusion(window=3)"]) == 0
    )
    found = rows_of(out)
    assert [row["case"] for row in found] == ["case0", "case1"]
    fused = vx.Attribution.load(out / found[0]["map"])
    alone = [
        vx.Attribution.load(runs / name / row["map"])
        for name in ("one", "two")
        for row in rows_of(runs / name)
        if row["case"] == "case0" and row["method"] == "occlusion(window=3)"
    ]
    np.testing.assert_array_equal(fused.values, vx.fuse(alone).values)
    page = (out / "report" / "index.html").read_text()
    assert "case0" in page
    assert "fusion" in page
    assert (out / "cases" / "case0" / "image.nii.gz").exists()


def test_all_maps_of_all_runs_take_part_unless_told_otherwise(runs, tmp_path):
    assert main(["fuse", str(runs / "one"), str(runs / "two"), "--out", str(tmp_path / "all")]) == 0
    fused = vx.Attribution.load(tmp_path / "all" / rows_of(tmp_path / "all")[0]["map"])
    assert [one.partition(": ")[2] for one in fused.numbers["members"]] == ["gradient", "occlusion(window=3)"] * 2


def test_a_case_that_changed_between_the_runs_is_a_failed_row(runs, tmp_path, capsys):
    other = tmp_path / "two"
    shutil.copytree(runs / "two", other)
    facts = other / "cases" / "case1" / "case.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"content_sha256": "another"}))
    assert main(["fuse", str(runs / "one"), str(other), "--out", str(tmp_path / "out")]) == 3
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["done", "failed"]
    assert "case 'case1' must be the same in all runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one", "--out", "new"], "at least two maps are needed, got 1"),
        (["one", "one", "--out", "new"], "run folders that differ"),
        (["one", "two", "--out", "one"], "run folders that differ"),
        (["one", "missing", "--out", "new"], "'missing' must be a run folder"),
        (["one", "two", "--out", "new", "--fusion", "fusion(rule='mode')"], "rule must be"),
        (["one", "two", "--out", "new", "--method", "gradcam"], "did you mean"),
    ],
)
def test_bad_requests_end_in_one_sentence(runs, tmp_path, monkeypatch, capsys, arguments, words):
    for name in ("one", "two"):
        shutil.copytree(runs / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    only = ["--method", "gradient"] if "at least two" in words else []
    code = main(["fuse", *arguments, *only])
    told = capsys.readouterr().err
    assert words in told
    assert code == (3 if only else 2)
