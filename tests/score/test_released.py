"""Folders of `voxplain train`: network, weights, class names and head come from the folder alone."""

import pytest
import torch
from safetensors.torch import save_file

from voxplain.errors import FileError, InputError, TrustError
from voxplain.score.callables import load_callable
from voxplain.score.load import load_model

TOLD = 'network = "small_cnn_2d(classes=3)"\ntask = "classification"\nclass_names = ["a", "b", "c"]\nname = "types"\n'


@pytest.fixture
def folder(tmp_path):
    """A folder of a classifier whose weights are not those it is born with."""
    module = load_callable("small_cnn_2d(classes=3)").module
    save_file({name: value + 1 for name, value in module.state_dict().items()}, tmp_path / "weights.safetensors")
    (tmp_path / "model.toml").write_text(TOLD)
    return tmp_path


def test_the_network_has_the_folder_s_weights_names_and_label(folder):
    model = load_model(str(folder))
    born = load_callable("small_cnn_2d(classes=3)").module
    assert torch.equal(model.module.head.bias, born.head.bias + 1)
    assert model.class_names == ("a", "b", "c")
    assert model.label == "types"
    assert not [notice for notice in model.notices if "random" in notice]


def test_given_names_weights_and_head_win_over_the_folder_s(folder, tmp_path):
    born = load_callable("small_cnn_2d(classes=3)").module
    save_file(dict(born.state_dict()), tmp_path / "other.safetensors")
    model = load_model(
        str(folder), weights=tmp_path / "other.safetensors", class_names=("x", "y", "z"), head="multi_label"
    )
    assert torch.equal(model.module.head.bias, born.head.bias)
    assert (model.class_names, model.head) == (("x", "y", "z"), "multi_label")


def test_a_regression_s_one_number_is_no_logit(folder):
    module = load_callable("small_regressor").module
    save_file(dict(module.state_dict()), folder / "weights.safetensors")
    (folder / "model.toml").write_text('network = "small_regressor"\ntask = "regression"\n')
    model = load_model(str(folder))
    assert model.head == "regression"


def test_damaged_folders_are_told(folder):
    (folder / "model.toml").write_text("network = ")
    with pytest.raises(FileError, match=r"'model.toml' in .* must be readable TOML"):
        load_model(str(folder))
    (folder / "model.toml").write_text('network = "small_cnn_2d"\ntask = "poetry"\n')
    with pytest.raises(FileError, match="must name a network and a task of classification, segmentation, regression"):
        load_model(str(folder))
    (folder / "model.toml").write_text(TOLD.replace("classes=3", "classes=4"))
    with pytest.raises(InputError, match="do not fit the model"):
        load_model(str(folder))


def test_code_of_others_in_a_folder_is_not_run(folder):
    (folder / "model.toml").write_text(TOLD.replace("small_cnn_2d(classes=3)", "os:system('true')"))
    with pytest.raises(TrustError):
        load_model(str(folder))
