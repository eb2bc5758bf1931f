"""The Xception study: which layers and networks, the table of backbones, and the whole of it in small."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from voxplain.errors import OptionError
from voxplain.report.studies import write_figures
from voxplain.score.networks import small_cnn_2d, transfer
from voxplain.study.studies import run_study, study_of
from voxplain.study.study_xception_cases import featured, told
from voxplain.study.study_xception_layers import XCEPTION, eight_layers
from voxplain.study.study_xception_models import compared, strong_settings, weak_settings, write_comparison
from voxplain.study.study_xception_numbers import in_tumour
from voxplain.study.training_job import TrainedFolder
from voxplain.training.recipe_files import read_recipe


def test_an_xception_gives_the_layers_of_the_study_from_shallow_to_deep():
    module = transfer(backbone="xception", size=71)
    found = eight_layers(module)
    assert found == tuple(f"backbone.{name}" for name in XCEPTION.values())
    seen = []
    handles = [
        module.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.append(name)) for name in found
    ]
    with torch.no_grad():
        module.eval()(torch.zeros(1, 3, 71, 71))
    for handle in handles:
        handle.remove()
    assert seen == [*found]


def test_the_separable_convolutions_are_those_of_the_keras_names():
    module = transfer(backbone="xception", size=71)
    for keras, name in XCEPTION.items():
        kind = type(module.get_submodule(f"backbone.{name}")).__name__
        assert kind == ("SeparableConv2d" if "sepconv" in keras else "Conv2d")


def test_a_network_of_four_convolutions_gives_their_rectifiers_as_well():
    found = eight_layers(small_cnn_2d(width=2, depth=4))
    assert len(found) == 8
    assert found[:2] == ("blocks.0.conv", "blocks.0.relu")
    assert found[-1] == "blocks.3.relu"


def test_a_deep_network_gives_four_layers_at_either_end():
    module = torch.nn.Sequential(*(torch.nn.Conv2d(1, 1, 3) for _ in range(11)), torch.nn.Conv2d(1, 1, 1))
    assert eight_layers(module) == ("0", "1", "2", "3", "7", "8", "9", "10")


def test_compared_backbones_of_the_study_have_its_head_size_and_rates():
    paper = compared("densenet201", "paper", None, (20, 20))
    assert paper["network"] == "transfer(backbone='densenet201', head='best', size=299)"
    assert (paper["frozen_epochs"], paper["epochs"], paper["frozen_rate"], paper["rate"]) == (20, 20, 1e-3, 1e-4)


def test_small_backbones_read_small_grey_pictures():
    small = compared("resnet50", "small", None, (2, 1))
    assert "channels=1, size=80" in small["network"]
    assert small["prepare"] == {"size": [80, 80]}
    assert "backbone" not in small


def test_pretrained_backbones_are_tuned_at_the_rate_of_the_study():
    small = compared("resnet50", "small", "r50.safetensors", (2, 1))
    assert (small["backbone"], small["rate"], small["schedule"]) == ("r50.safetensors", 1e-4, "constant")


def test_random_backbones_learn_faster_and_end_with_a_falling_rate():
    small = compared("resnet50", "small", None, (1, 6))
    assert (small["rate"], small["schedule"], small["epochs"]) == (1e-3, "one_cycle", 6)


def test_the_weak_network_is_the_strong_one_after_less_training():
    assert set(weak_settings("small", {})) == {"epochs"}
    assert weak_settings("small", {})["epochs"] < 5
    paper = weak_settings("paper", {"xception": "x.safetensors"})
    assert "head='low'" in paper["network"]
    assert paper["backbone"] == "x.safetensors"
    assert strong_settings("paper", {}, None) == {}


@pytest.mark.parametrize("options", [{}, {"size": "paper", "weights": ("x.pt", "i.pt", "d.pt", "r.pt")}])
def test_both_networks_start_from_the_given_weights(options):
    strong, weak = study_of("xception", start="s.npz", **options)._both()
    assert (strong.backbone, weak.backbone) == ("s.npz", "s.npz")


def test_both_networks_start_from_nothing_by_default():
    strong, weak = study_of("xception")._both()
    assert (strong.backbone, weak.backbone) == ("", "")
    assert strong.network == weak.network
    assert (strong.epochs, weak.epochs) == (read_recipe("tumour-types").epochs, 2)


def made(folder, accuracy):
    folder.mkdir(parents=True)
    save_file(
        {
            "backbone.conv": np.zeros((2, 3), np.float32),
            "backbone.bn.running_mean": np.zeros(2, np.float32),
            "head.0.weight": np.zeros((5, 2), np.float32),
        },
        folder / "weights.safetensors",
    )
    return TrainedFolder(
        folder, {"test": {"cases": 9, "accuracy": accuracy, "intervals": {"accuracy": [0.1, 0.9]}}}, ()
    )


def test_the_table_has_the_best_backbone_first_and_counts_weights_without_statistics(tmp_path):
    write_comparison(tmp_path, {"a": made(tmp_path / "a", 0.5), "b": made(tmp_path / "b", 0.75)})
    with (tmp_path / "comparison.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["backbone"] for row in rows] == ["b", "a"]
    assert (rows[0]["parameters"], rows[0]["trained first"], rows[0]["start"]) == ("16", "10", "random weights")
    assert (rows[0]["low"], rows[0]["high"]) == ("0.1", "0.9")


def test_only_the_test_part_is_shown(tmp_path):
    lines = ["id,group,part,truth,prediction", "a,p,val,x,x", "b,q,test,x,y", "c,r,test,y,y"]
    (tmp_path / "predictions.csv").write_text("\n".join(lines) + "\n")
    assert set(told(tmp_path)) == {"b", "c"}

    class Named:
        def __init__(self, identifier):
            self.identifier = identifier

    cases = [Named("b"), Named("c")]
    assert [case.identifier for case in featured(cases, tmp_path, 3)] == ["b", "c"]


def test_shares_in_the_tumour_are_means_by_method(tmp_path):
    rows = [
        {"case": case, "status": "done", "method": name, "share_in_mask": share, "mask_share": 0.1}
        for case, name, share in (("a", "lime(samples=3)", 0.2), ("b", "lime(samples=3)", 0.4), ("a", "grad_cam", 0.9))
    ]
    rows.append({"case": "c", "status": "done", "method": "lime", "share_in_mask": None, "mask_share": None})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert in_tumour(tmp_path) == pytest.approx({"lime": 0.3, "grad_cam": 0.9, "chance": 0.1})


def test_refuses_weights_that_do_not_go_with_the_backbones():
    with pytest.raises(OptionError, match="weights must be one file a backbone, got 1"):
        study_of("xception(weights=['a.pt'])")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_study_runs_and_is_drawn(tmp_path):
    spec = (
        "xception(images=60, epochs=1, compared_epochs=[1, 1], explained=3, lime_samples=20, shap_evaluations=12, "
        "backbones=['xception'], device='cpu')"
    )
    done = run_study(study_of(spec), tmp_path / "study")
    assert set(done.numbers) == {"strong", "weak", "backbones", "in_tumour"}
    names = {path.relative_to(tmp_path / "study/figures").as_posix() for path in write_figures(tmp_path / "study")}
    assert {"comparison.png", "right-wrong.png", "strong-weak.png", "lime-signed.png", "catalogue-01.png"} <= names
    for front in ("layers-", "layers-xception-", "lime-mask-", "lime-outline-", "lime-weights-", "shap-"):
        assert any(name.startswith(front) for name in names)
    assert sum(name.startswith("three-methods-") for name in names) == 3
