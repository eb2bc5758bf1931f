"""Labels in random order: only those of the training part, the same ones all over, and a folder that says so."""

import csv
import tomllib
from dataclasses import replace

import numpy as np
import pytest

import voxplain as vx
from voxplain.cli.main import main
from voxplain.data.case import Case
from voxplain.errors import InputError, OptionError
from voxplain.phantoms.base import picture
from voxplain.score.released import NOTICE
from voxplain.study.training_job import MEMORISED
from voxplain.study.training_samples import material
from voxplain.study.training_shuffled import check_shuffled, shuffled
from voxplain.training.recipe import Recipe

RECIPE = Recipe(task="classification", network="small_cnn_2d")
PARTS = ["train"] * 30 + ["val"] * 5 + ["test"] * 5


def stuff(labels):
    images = [picture(np.full((2, 2), number / 50), f"c{number:02d}") for number in range(len(labels))]
    cases = [Case(image.identifier, image, label=label) for image, label in zip(images, labels, strict=True)]
    return material(cases, RECIPE, ".")


@pytest.fixture(scope="module")
def before():
    return stuff(["abc"[number % 3] for number in range(40)])


def test_the_training_part_keeps_its_labels_in_another_order_and_all_others_keep_theirs(before):
    truth, found = before.samples.truth, shuffled(before, PARTS, 0).samples.truth
    assert sorted(found[:30]) == sorted(truth[:30])
    # Of three classes a third stays by chance: 20 of 30 change, give or take 2.7.
    assert 10 <= (found[:30] != truth[:30]).sum() <= 29
    assert np.array_equal(found[30:], truth[30:])


def test_labels_are_shuffled_in_a_copy_and_by_the_seed_alone(before):
    truth = before.samples.truth.copy()
    orders = [shuffled(before, PARTS, seed).samples.truth for seed in (0, 0, 1)]
    assert np.array_equal(before.samples.truth, truth)
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def test_labels_that_stay_as_they_are_are_refused(before):
    with pytest.raises(InputError, match="must differ from the true ones, got the same for all 1 cases"):
        shuffled(before, ["train", *["test"] * 39], 0)


@pytest.mark.parametrize(("recipe", "sentence"), [
    (replace(RECIPE, task="segmentation", loss="dice"), "shuffled labels must be classes or numbers, got masks"),
    (replace(RECIPE, outer_folds=3), "shuffled labels need one training part, got a cross-validation"),
])  # fmt: skip
def test_masks_and_folds_are_refused(recipe, sentence):
    with pytest.raises(OptionError, match=sentence):
        check_shuffled(recipe)


NETWORK = "small_cnn_2d(channels=3, width=4)"
CHEST = {
    "phantom": "chest(side=64)",
    "network": NETWORK,
    "head": [],
    "n": 20,
    "epochs": 2,
    "best": "loss",
    "shares": [0.6, 0.2, 0.2],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same small training on true and on shuffled labels, of the same films."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        options = {**CHEST, "prepare": {"size": [32, 32]}, "device": "cpu"}
        return {
            name: vx.train("chest-view", out=place / name, shuffle_labels=name == "shuffled", **options)
            for name in ("true", "shuffled")
        }


def told(folder, file):
    return tomllib.loads((folder / file).read_text("utf-8"))


def test_the_folder_says_that_labels_were_shuffled(trained):
    folder = trained["shuffled"].folder
    assert told(folder, "training.toml")["labels"] == told(folder, "model.toml")["labels"] == "shuffled"
    assert told(folder, "model.toml")["name"] == "chest-view-shuffled"
    assert NOTICE in vx.load(str(folder)).notices
    assert "labels" not in told(trained["true"].folder, "model.toml")
    assert NOTICE not in vx.load(str(trained["true"].folder)).notices


def test_its_last_epoch_is_kept_and_what_it_learnt_by_heart_is_told(trained):
    found = trained["shuffled"]
    assert told(found.folder, "training.toml")["recipe"]["best"] == "last"
    assert told(found.folder, "model.toml")["best_epoch"] == 2
    assert set(found.scores) == {"val", "test", MEMORISED}
    assert found.scores[MEMORISED]["cases"] == 20 - found.scores["val"]["cases"] - found.scores["test"]["cases"]
    assert set(trained["true"].scores) == {"val", "test"}


def test_it_learns_from_the_shuffled_labels(trained):
    losses = []
    for name in ("true", "shuffled"):
        with (trained[name].folder / "history.csv").open() as stream:
            losses.append([row["train_loss"] for row in csv.DictReader(stream)])
    # Everything but the labels is the same: films, network, order of the batches.
    assert len(losses[0]) == len(losses[1]) == 2
    assert losses[0] != losses[1]


def test_evaluate_takes_it_as_a_second_model_and_no_other_network_for_it(trained, capsys, tmp_path, monkeypatch):
    for page in ("page", "evaluation"):  # pages take longer than all the rest
        monkeypatch.setattr(f"voxplain.report.{page}.write", lambda folder: folder)
    true, other = (str(trained[name].folder) for name in ("true", "shuffled"))
    film = next((trained["true"].folder.parent / "phantoms").rglob("*.png"))
    begin = ["evaluate", "--model", true, "--image", str(film), "--method", "gradient", "--metric"]
    begin += ["label_randomisation", "--out", str(tmp_path / "run")]
    assert main([*begin, "--shuffled-model", true]) == 2
    assert "learnt from true labels; train one with --shuffle-labels" in capsys.readouterr().err
    assert main([*begin, "--second-model", other, "--json"]) == 0
    assert '"not applicable"' not in (tmp_path / "run" / "metrics.jsonl").read_text()
