"""nnU-Net v2 folders: trust, building, axes, windows and preparation, with a small network in the place of its own."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from torch import nn

from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, InputError, MissingExtra, OptionError, TrustError
from voxplain.methods import method
from voxplain.score.load import load_model
from voxplain.score.nnunet import planned_preparation
from voxplain.score.nnunet_plans import configuration, label_names, preparation
from voxplain.score.nnunet_windows import PlannedWindows, gaussian, window_starts
from voxplain.score.score import Score

NETWORK = '''
from torch import nn

class Net(nn.Module):
    """Two convolutions as nnU-Net would build them."""

    def __init__(self, input_channels, num_classes, width, conv_op, nonlin, deep_supervision):
        super().__init__()
        assert deep_supervision is False
        self.conv = conv_op(input_channels, width, 3, padding=1)
        self.nonlin = nonlin(inplace=True)
        self.seg = conv_op(width, num_classes, 1)

    def forward(self, x):
        return self.seg(self.nonlin(self.conv(x)))
'''

ABOUT = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "posterior": 2, "anterior": 1},
    "file_ending": ".nii.gz",
}


def plans(kind="tiny_nnunet_network.Net", patch=(8, 6, 4), transpose=(0, 1, 2)):
    """Plans with one configuration and one that inherits from it."""
    rank = len(patch)
    described = {
        "network_class_name": kind,
        "arch_kwargs": {"width": 5, "conv_op": f"torch.nn.modules.conv.Conv{rank}d", "nonlin": "torch.nn.LeakyReLU"},
        "_kw_requires_import": ["conv_op", "nonlin"],
    }
    full = {
        "patch_size": list(patch),
        "spacing": [3.0, 2.0, 1.0][-rank:],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": described,
    }
    return {
        "transpose_forward": list(transpose),
        "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 40.0, "std": 20.0, "percentile_00_5": -100.0, "percentile_99_5": 300.0}
        },
        "configurations": {"full": full, "smaller": {"inherits_from": "full", "patch_size": [4] * rank}},
    }


@pytest.fixture
def network(tmp_path, monkeypatch):
    """The class that the plans name."""
    (tmp_path / "tiny_nnunet_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("tiny_nnunet_network").Net
    __import__("sys").modules.pop("tiny_nnunet_network")


def made(network, folder, told=None, folds=(0,), about=ABOUT, name="full"):
    """A training folder; gives its path and the networks of its folds."""
    told = told or plans()
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(told))
    (folder / "dataset.json").write_text(json.dumps(about))
    options = {"input_channels": 1, "num_classes": 3, "width": 5, "nonlin": nn.LeakyReLU, "deep_supervision": False}
    rank = len(told["configurations"]["full"]["patch_size"])
    networks = []
    for fold in folds:
        torch.manual_seed(fold)
        networks.append(network(conv_op=nn.Conv3d if rank == 3 else nn.Conv2d, **options).eval())
        checkpoint = {
            "network_weights": networks[-1].state_dict(),
            "init_args": {"configuration": name, "fold": fold},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
            "_best_ema": np.float64(0.5),  # which is why nnU-Net's own files need trust
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return str(folder), networks


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_a_folder_waits_for_trust(network, tmp_path):
    folder, _ = made(network, tmp_path / "net")
    with pytest.raises(TrustError, match=r"checkpoint_final.pth' is a pickled checkpoint"):
        load_model(folder)


def test_a_network_that_is_not_of_nnunet_waits_for_trust(network, tmp_path):
    folder, _ = made(network, tmp_path / "net")
    checkpoint = str(tmp_path / "net" / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(
        TrustError, match=r"would run 'tiny_nnunet_network.Net', which is neither nnU-Net's nor torch's"
    ):
        load_model(folder, trust=[checkpoint])


def test_a_trusted_folder_tells_all_about_itself(network, tmp_path):
    folder, _ = made(network, tmp_path / "net")
    model = load_model(folder, trust=[folder])
    assert (model.rank, model.channels, model.head, model.label) == (3, 1, "softmax", "nnunet full")
    assert model.class_names == ("background", "anterior", "posterior")
    assert "mirrored passes are left out" in " ".join(model.notices)


def test_axes_are_turned_to_nnunets_and_back(network, tmp_path):
    folder, (net,) = made(network, tmp_path / "net")
    x = noise(2, 1, 4, 6, 8)  # i, j, k; the patch is 8, 6, 4 from k to i
    expected = net(x.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)
    assert torch.allclose(load_model(folder, trust=[folder])(x), expected, atol=1e-6)


def test_axes_follow_the_plans_transposition(network, tmp_path):
    folder, (net,) = made(network, tmp_path / "net", plans(transpose=(2, 0, 1), patch=(4, 8, 6)))
    x = noise(1, 1, 4, 6, 8)
    turned = x.permute(0, 1, 4, 3, 2).permute(0, 1, 4, 2, 3)  # as files are read, then as the plans say
    expected = net(turned).permute(0, 1, 3, 4, 2).permute(0, 1, 4, 3, 2)
    assert torch.allclose(load_model(folder, trust=[folder])(x), expected, atol=1e-6)


def test_slices_stay_as_they_are(network, tmp_path):
    folder, (net,) = made(network, tmp_path / "net", plans(patch=(8, 6)))
    x = noise(2, 1, 8, 6)
    assert torch.allclose(load_model(folder, trust=[folder])(x), net(x), atol=1e-6)


def test_a_smaller_image_is_padded_about_its_middle(network, tmp_path):
    folder, (net,) = made(network, tmp_path / "net")
    x = noise(1, 1, 3, 6, 5)
    padded = torch.zeros(1, 1, 8, 6, 4)
    padded[..., 1:6, :, 0:3] = x.permute(0, 1, 4, 3, 2)
    expected = net(padded)[..., 1:6, :, 0:3].permute(0, 1, 4, 3, 2)
    assert torch.allclose(load_model(folder, trust=[folder])(x), expected, atol=1e-6)


def test_folds_are_averaged_and_one_may_be_chosen(network, tmp_path):
    folder, nets = made(network, tmp_path / "net", folds=(0, 1, 3))
    x = noise(1, 1, 4, 6, 8)
    single = [net(x.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2) for net in nets]
    model = load_model(folder, trust=[folder])
    assert torch.allclose(model(x), torch.stack(single).mean(0), atol=1e-6)
    assert "fold_0, fold_1, fold_3, the mean of their logits" in model.notices[0]
    chosen = load_model(folder, weights=tmp_path / "net" / "fold_3" / "checkpoint_final.pth", trust=[folder])
    assert torch.allclose(chosen(x), single[2], atol=1e-6)


def test_every_access_works_on_one_window(network, tmp_path):
    folder, _ = made(network, tmp_path / "net")
    score = Score(load_model(folder, trust=[folder]), "region(1, over='whole')")
    x = noise(1, 1, 4, 6, 8)
    for spec in ("gradient", "grad_cam(relu=False)", "lrp", "deep_lift", "occlusion(window=4)"):
        found = method(spec)(score, x)
        assert torch.isfinite(found.values).all()
        assert found.values.abs().max() > 0


# --- windows ----------------------------------------------------------------------------------------------------------


class Sums(nn.Module):
    """Says for each voxel the sum of its window: windows can be told apart."""

    def forward(self, x):
        return torch.ones_like(x) * x.sum(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("side", "patch", "starts"),
    [(8, 8, [0]), (9, 8, [0, 1]), (12, 8, [0, 4]), (13, 8, [0, 2, 5]), (110, 64, [0, 23, 46])],
)
def test_windows_are_spread_evenly_and_overlap_by_half_at_least(side, patch, starts):
    assert window_starts(side, patch) == starts


def test_windows_are_weighted_by_their_gaussian():
    module = PlannedWindows([Sums()], (4, 4), (0, 1, 2))
    x = noise(1, 1, 4, 6)
    weight = gaussian((4, 4))
    left, right = x[..., :4].sum(), x[..., 2:].sum()
    expected = (left * weight[1, 2] + right * weight[1, 0]) / (weight[1, 2] + weight[1, 0])
    assert torch.allclose(module(x)[0, 0, 1, 2], expected)
    assert torch.allclose(module(x)[0, 0, :, 0], left.expand(4))


def test_a_network_that_sees_voxels_alone_is_not_changed_by_windows():
    torch.manual_seed(0)
    point = nn.Conv3d(2, 3, 1)
    x = noise(2, 2, 7, 5, 9)
    found = PlannedWindows([point], (4, 4, 4), (0, 1, 2))(x)
    assert torch.allclose(found, point(x), atol=1e-6)


def test_the_odd_voxel_of_padding_lies_behind():
    class Ramp(nn.Module):
        """Says where in its window a voxel lies."""

        def forward(self, x):
            return x + torch.arange(x.shape[3])

    found = PlannedWindows([Ramp()], (4, 8), (0, 1, 2))(torch.zeros(1, 1, 4, 5))
    assert found[0, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_gradients_of_all_windows_reach_the_image():
    x = noise(1, 1, 4, 11).requires_grad_()
    gradient = torch.autograd.grad(PlannedWindows([Sums()], (4, 4), (0, 1, 2))(x).sum(), x)[0]
    assert (gradient > 0).all()


def test_no_weight_is_zero():
    assert gaussian((64, 64)).min() > 0
    assert gaussian((5, 4)).argmax() == 2 * 4 + 2


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_configuration_inherits():
    found = configuration(plans(), "smaller")
    assert found["patch_size"] == [4, 4, 4]
    assert found["architecture"]["arch_kwargs"]["width"] == 5
    with pytest.raises(OptionError, match=r"unknown nnU-Net configuration 'ful'; did you mean 'full'"):
        configuration(plans(), "ful")


def test_old_plans_and_cascades_are_refused():
    told = plans()
    told["configurations"]["full"]["previous_stage"] = "smaller"
    with pytest.raises(InputError, match=r"second stage of a cascade"):
        configuration(told, "full")
    told = plans()
    del told["configurations"]["full"]["architecture"]
    with pytest.raises(InputError, match=r"must describe its architecture, as nnU-Net 2.4 and later do"):
        configuration(told, "smaller")


def test_names_of_labels_stand_by_number_and_of_regions_in_order():
    assert label_names(ABOUT) == ("background", "anterior", "posterior")
    regions = {"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4}}
    assert label_names(regions) == ("whole", "core")


def test_a_preparation_has_the_spacing_of_the_images_own_axes():
    table, differs = preparation(plans(transpose=(1, 0, 2)), "full")
    # The network's axes are j, k, i with 3, 2, 1 mm.
    assert Prepare.of(table).spacing_mm == (1.0, 3.0, 2.0)
    assert table["zscore"] is True
    assert differs == ("voxels are resampled linearly and before intensities are scaled",)


def test_a_preparation_scales_ct_as_nnunet_does():
    told = plans()
    told["configurations"]["full"]["normalization_schemes"] = ["CTNormalization"]
    made = Prepare.of(preparation(told, "full")[0])
    raw = np.array([-500.0, -100.0, 40.0, 500.0])
    stretched = (raw.clip(*made.window) - made.window[0]) / (made.window[1] - made.window[0])
    expected = (raw.clip(-100, 300) - 40) / 20
    assert np.allclose((stretched - made.mean[0]) / made.std[0], expected)


@pytest.mark.parametrize(
    ("scheme", "table"),
    [
        ("NoNormalization", {}),
        ("RescaleTo01Normalization", {"percentile": (0, 100)}),
        ("RGBTo01Normalization", {"scale": 1 / 255}),
    ],
)
def test_other_schemes(scheme, table):
    told = plans()
    told["configurations"]["full"]["normalization_schemes"] = [scheme]
    assert preparation(told, "full")[0] == {"spacing_mm": (1.0, 2.0, 3.0), **table}


def test_masked_scaling_and_reorientation_are_told():
    told = plans()
    told["configurations"]["full"]["use_mask_for_norm"] = [True]
    told["image_reader_writer"] = "NibabelIOWithReorient"
    table, differs = preparation(told, "full")
    assert (table["orientation"], table["zscore"], table["nonzero"]) == ("RAS", True, True)
    assert len(differs) == 2


def test_an_unknown_scheme_is_refused():
    told = plans()
    told["configurations"]["full"]["normalization_schemes"] = ["Mine"]
    with pytest.raises(InputError, match=r"normalisation 'Mine' is none that a preparation knows"):
        preparation(told, "full")


# --- bad folders ------------------------------------------------------------------------------------------------------


def test_nnunets_own_networks_name_the_missing_package(network, tmp_path):
    if importlib.util.find_spec("dynamic_network_architectures"):
        pytest.skip("the package is installed here")
    told = plans("dynamic_network_architectures.architectures.unet.PlainConvUNet")
    folder, _ = made(network, tmp_path / "net", told)
    with pytest.raises(MissingExtra, match=r"dynamic_network_architectures.*voxplain\[nnunet\]"):
        load_model(folder, trust=[folder])


def test_damaged_folders_give_one_sentence(network, tmp_path):
    folder, _ = made(network, tmp_path / "net")
    checkpoint = tmp_path / "net" / "fold_0" / "checkpoint_final.pth"
    torch.save({"epoch": 3}, checkpoint)
    with pytest.raises(FileError, match=r"must be one of nnU-Net, with init_args and network_weights"):
        load_model(folder, trust=[folder])
    checkpoint.unlink()
    with pytest.raises(FileError, match=r"must hold fold_0/checkpoint_final.pth"):
        load_model(folder)
    (tmp_path / "net" / "plans.json").write_text("{")
    with pytest.raises(FileError, match=r"plans.json' cannot be read"):
        load_model(folder)


def test_weights_that_do_not_fit_the_plans_are_told(network, tmp_path):
    told = plans()
    folder, _ = made(network, tmp_path / "net", told)
    told["configurations"]["full"]["architecture"]["arch_kwargs"]["width"] = 6
    (tmp_path / "net" / "plans.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"do not fit the model: 3 of another shape"):
        load_model(folder, trust=[folder])


def test_the_preparation_is_that_of_the_configuration_in_the_folder_s_name(tmp_path):
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__smaller"
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(plans()))
    assert planned_preparation(folder) == preparation(plans(), "smaller")
    renamed = folder.rename(tmp_path / "mine")
    with pytest.raises(InputError, match="must end in its configuration, one of full, smaller"):
        planned_preparation(renamed)
