"""`voxplain train` as typed: a folder that `voxplain explain` takes, taken up again after a kill, and its refusals."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import voxplain as vx
from voxplain.cli.main import main

CHEST = ("--set", "phantom=chest(side=64)", "--set", "network=small_cnn_2d(channels=3, width=4)", "--set", "head=[]")
SMALL = (*CHEST, "--set", "n=20", "--set", "prepare.size=[32,32]", "--set", "batch=7", "--device", "cpu")


@pytest.fixture
def typed(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder; returns exit code, standard output and the last line of standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, (err.strip().splitlines() or [""])[-1]

    return run


def test_a_trained_folder_is_explained_as_it_is(typed, tmp_path):
    code, out, _ = typed("train", "chest-view", *SMALL, "--set", "epochs=3", "--out", "trained")
    assert code == 0
    assert out.splitlines()[0].startswith("test: cases 6, patients 6, accuracy ")
    names = {"weights.safetensors", "prepare.toml", "model.toml", "history.csv", "scores.json", "predictions.csv"}
    assert names <= {path.name for path in (tmp_path / "trained").iterdir()}
    assert (tmp_path / "trained" / "figures").is_dir()
    assert not list((tmp_path / "trained").rglob("*.ckpt"))
    with (tmp_path / "trained" / "predictions.csv").open() as stream:
        told = next(csv.DictReader(stream))
    film = next(tmp_path.glob(f"phantoms/*/films/*/{told['id']}.png"))
    code, _, told_wrong = typed(
        "explain", "--model", "trained", "--image", film, "--target", "probability(1)", "--out", "maps"
    )
    assert (code, told_wrong.startswith("voxplain:")) == (0, False)
    row = json.loads((tmp_path / "maps" / "rows.jsonl").read_text().splitlines()[0])
    # One pass alone and one in a batch differ by rounding of float32.
    assert row["score"] == pytest.approx(float(told["probability_pa"]), abs=1e-5)
    assert vx.load("trained").class_names == ("lateral", "pa")


def test_the_same_request_is_reused_and_another_one_refused(typed):
    arguments = ("train", "chest-view", *SMALL, "--set", "epochs=1", "--out", "trained")
    typed(*arguments)
    _, out, _ = typed(*arguments, "--json")
    assert json.loads(out)["reused"] is True
    code, _, told = typed(*arguments, "--set", "epochs=2")
    assert (code, told) == (2, "voxplain: output folder 'trained' holds another training; choose another --out")


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("pumpkin",), "voxplain: unknown recipe 'pumpkin'; did you mean 'pumpkin-age'?"),
    (("pumpkin-age", "--set", "epoch=3"), "voxplain: recipe: unknown option 'epoch'; did you mean 'epochs'?"),
    (("pumpkin-age", "--data", "absent"), "voxplain: data 'absent' does not exist"),
    (("hippocampus-seg",), "voxplain: this recipe has no phantom to be trained on; pass --data"),
])  # fmt: skip
def test_refusals_are_one_sentence(typed, arguments, sentence):
    code, _, told = typed("train", *arguments)
    assert (code, told) == (2, sentence)


def test_a_patient_on_both_sides_is_refused_before_any_training(typed, tmp_path):
    typed("simulate", "tumours(side=32, slices=2)", "--n", 12, "--out", "slices", "--workers", 1)
    table = tmp_path / "slices" / "cases.csv"
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        row["split"] = ("train", "test")[number % 2]
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    small = ("--set", "prepare.size=[32,32]", "--set", "network=small_cnn_2d(width=4)", "--set", "best=last")
    code, _, told = typed("train", "tumour-types", "--data", "slices", *small, "--out", "trained")
    assert code == 2
    assert "patient-0000" in told
    assert not (tmp_path / "trained" / "fit").exists()


@pytest.mark.slow
def test_cross_validation_writes_the_study_s_results(typed, tmp_path):
    small = ("--set", "n=48", "--set", "network=small_cnn_2d(width=4)", "--set", "frozen=['blocks.*']")
    rest = ("--set", "inner_folds=2", "--set", "outer_folds=3", "--set", "frozen_epochs=2", "--device", "cpu")
    code, out, _ = typed("train", "muscle-cv", *small, *rest, "--out", "trained")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()[:2]] == ["folds", "test"]
    results = [json.loads(path.read_text()) for path in sorted((tmp_path / "trained").glob("*/results.json"))]
    assert set(results[1]) >= {"title", "learning rate", "momentum", "patience", "delta", "final", "variance", "0", "1"}
    assert set(results[0]) == {"title", "learning rate", "momentum", "epochs", "final"}
    with (tmp_path / "trained" / "history.csv").open() as stream:
        assert {row["fold"] for row in csv.DictReader(stream)} == {"0", "1", "2"}
    assert vx.load(str(tmp_path / "trained")).class_names == ("healthy", "affected")


def weights(folder):
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_training_ends_with_the_same_bytes(tmp_path, epoch):
    command = [sys.executable, "-m", "voxplain", "train", "chest-view", *SMALL, "--set", "epochs=5"]
    whole, cut = ([*command, "--out", str(tmp_path / name)] for name in ("whole", "cut"))
    settings = {"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "text": True}
    subprocess.run(whole, check=True, capture_output=True, **settings)
    with subprocess.Popen(cut, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **settings) as running:
        for line in running.stderr:
            if f"epoch {epoch} of 5" in line:
                running.send_signal(signal.SIGKILL)
                break
        running.wait()
    assert running.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "scores.json").exists()
    again = subprocess.run(cut, check=True, capture_output=True, **settings)
    assert "epoch 1 of 5" not in again.stderr or epoch == 1
    assert f"epoch {epoch + 2} of 5" in again.stderr
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert (tmp_path / "cut" / "history.csv").read_bytes() == (tmp_path / "whole" / "history.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "data", "parts"), [
    ("tumour-types", "brain-tumor-2d", ["val", "test"]),
    ("chest-view", "cxr-views", ["val", "external", "test"]),
    ("hippocampus-volume", "mri-3d/hippocampus", ["val", "test"]),
    ("hippocampus-seg", "mri-3d/hippocampus", ["val", "test"]),
])  # fmt: skip
def test_real_layouts_run_from_start_to_end(tmp_path, data_folder: Path, recipe, data, parts):
    channels = {"tumour-types": 1, "chest-view": 1}.get(recipe)
    settings = {"epochs": 1, "device": "cpu"}
    if channels:
        settings |= {
            "network": f"small_cnn_2d(channels={channels}, width=4)",
            "head": [],
            "prepare": {"size": [32, 32]},
        }
    done = vx.train(recipe, data_folder / data, out=tmp_path / "trained", **settings)
    assert list(done.scores) == parts
    assert done.scores["test"]["cases"] > 20
