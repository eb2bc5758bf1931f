"""Networks that come with the package: small, loadable by name, and still what they were when they were trained."""

import json
import tomllib
from importlib import import_module

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from scripts.ship_weights import ANSWERS, FRESH_SEED, MOST_BYTES, RECIPES, answers
from voxplain.data.prepare import Prepare, prepare_mask
from voxplain.errors import FileError, InputError
from voxplain.phantoms import phantom
from voxplain.score import shipped as module
from voxplain.score.load import load_model
from voxplain.score.networks import NETWORKS
from voxplain.score.shipped import NOTICE, facts, model_folder, shipped
from voxplain.training.recipe_files import read_recipe

NAMES = sorted(RECIPES)

AGREES = {"rtol": 1e-4, "atol": 1e-4}
"""Other processors and versions of torch add up in another order."""

MEASURED = {"phantom-pumpkin-age": "mae", "phantom-tumour-types": "accuracy", "phantom-glioma-seg": "dice"}
"""The score that a task is judged by."""


def test_all_are_there_and_together_small():
    assert list(shipped()) == NAMES
    total = sum(file.stat().st_size for folder in shipped().values() for file in folder.rglob("*"))
    assert total <= MOST_BYTES == 4_000_000


def test_their_files_are_part_of_an_installation(repository):
    table = tomllib.loads((repository / "pyproject.toml").read_text())
    home = repository / "src" / "voxplain" / "score"
    packed = {
        path for pattern in table["tool"]["setuptools"]["package-data"]["voxplain.score"] for path in home.glob(pattern)
    }
    files = {file for folder in shipped().values() for file in folder.iterdir()}
    assert len(files) == 3 * len(NAMES)
    assert files <= packed


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_trained_model_with_its_class_names_and_a_warning(name):
    model = load_model(name)
    stored = load_file(shipped()[name] / "weights.safetensors")
    assert model.label == name
    assert model.class_names == tuple(facts(name)["class_names"])
    assert NOTICE in model.notices
    assert not any("random" in notice for notice in model.notices)
    held = model.module.state_dict()
    assert all(torch.equal(held[key], value) for key, value in stored.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_name_cannot_be_taken_for_a_network_that_has_learnt_nothing(name):
    assert name not in NETWORKS
    assert not name.isidentifier()


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_says_scores_and_the_command_they_came_from(name):
    told = facts(name)
    assert told["name"] == name
    assert told["command"].startswith(f"voxplain train {RECIPES[name]} ")
    assert told["scores"]["cases"] >= 10
    assert np.isfinite(told["scores"][MEASURED[name]])
    assert told["versions"]["torch"]


@pytest.mark.parametrize("name", NAMES)
def test_what_it_was_trained_by_is_the_recipe_of_that_name(name):
    # A recipe that has changed since needs scripts/ship_weights.py: the command must give what is shipped.
    recipe, told = read_recipe(RECIPES[name]).table(), facts(name)["recipe"]
    assert json.loads(json.dumps(recipe)) == told


@pytest.mark.parametrize("name", NAMES)
def test_answers_about_fresh_phantoms_are_those_of_the_day_it_was_trained(name):
    stored = json.loads(ANSWERS.read_text())[name]
    assert len(stored) == 3
    np.testing.assert_allclose(answers(name), stored, **AGREES)


@pytest.mark.parametrize("name", NAMES)
def test_fresh_phantoms_are_of_another_seed_than_those_of_the_training(name):
    assert facts(name)["recipe"]["seed"] != FRESH_SEED


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="'phantom-pumpkin-age' brings its own weights; leave --weights out"):
        load_model("phantom-pumpkin-age", weights=tmp_path / "w.safetensors")


def test_a_mistyped_name_is_put_right():
    with pytest.raises(FileError, match="'phantom-pumkin-age' does not exist; did you mean 'phantom-pumpkin-age'"):
        load_model("phantom-pumkin-age")


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_folder("phantom-tumour-types") == shipped()["phantom-tumour-types"]
    (tmp_path / "phantom-tumour-types").mkdir()
    assert model_folder("phantom-tumour-types").resolve() == tmp_path / "phantom-tumour-types"
    with pytest.raises(FileError, match="'phantom-tumour-types' must be a MONAI bundle"):
        load_model("phantom-tumour-types")


def test_a_package_without_them_still_loads_other_models(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path / "nowhere")
    assert shipped() == {}
    assert load_model("small_cnn_2d").label == "small_cnn_2d"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_stated_scores_hold_on_phantoms_that_nobody_has_seen(name):
    told, explain = facts(name), import_module("voxplain.study.explain")
    explainer = explain.Explainer(load_model(name), Prepare.read(shipped()[name] / "prepare.toml"))
    made = phantom(told["recipe"]["phantom"])
    samples = [made.sample(number, 3_000_000) for number in range(12 if "glioma" in name else 60)]
    ready = [explainer.ready(sample.image) for sample in samples]
    said = [one.prediction for one in ready]
    if name == "phantom-pumpkin-age":
        errors = [abs(one.scores[0] - float(sample.label)) for one, sample in zip(said, samples, strict=True)]
        assert np.mean(errors) < 1.5 * told["scores"]["mae"]
    elif name == "phantom-tumour-types":
        right = [one.class_names[one.predicted] == sample.label for one, sample in zip(said, samples, strict=True)]
        assert np.mean(right) > told["scores"]["accuracy"] - 0.1
    else:
        true = [prepare_mask(sample.mask, one.prepared) for one, sample in zip(ready, samples, strict=True)]
        pairs = [(one.labels.numpy() > 0, mask > 0) for one, mask in zip(said, true, strict=True)]
        dice = [2 * (found & true).sum() / (found.sum() + true.sum()) for found, true in pairs]
        assert np.mean(dice) > told["scores"]["whole"] - 0.05
