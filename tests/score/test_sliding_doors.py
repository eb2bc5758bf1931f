"""How a sliding window is asked for: by a spec, or by the configuration of a MONAI bundle."""

import pytest
import torch

from tests.score.payloads import batch
from tests.score.test_bundle import NETWORK, bundle, unet
from voxplain.errors import InputError, OptionError
from voxplain.score.bundle_window import bundle_window
from voxplain.score.load import load_model
from voxplain.score.sliding import SlidingWindow

UNET = "monai.networks.nets:UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=[4, 8], strides=[2])"


def inferer(**options):
    return {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], **options}}


def test_a_spec_puts_the_network_under_windows():
    spec = "sliding_window(roi=[8], overlap=0.5)"
    model = load_model(UNET, sliding_window=spec)
    assert model.windows == "sliding_window(roi=[8], overlap=0.5)"
    assert any("window by window" in notice for notice in model.notices)
    assert model(batch(1, 1, 12, 8, 20).float()).shape == (1, 2, 12, 8, 20)
    assert load_model(UNET).windows == ""


def test_the_window_of_a_bundle_is_taken_and_one_of_the_user_s_comes_first(tmp_path):
    path = bundle(tmp_path, {"network_def": NETWORK, **inferer(overlap=0.5, mode="gaussian")})
    model = load_model(path)
    assert model.windows == "sliding_window(roi=[8, 8, 8], overlap=0.5, blend='gaussian')"
    x = batch(1, 1, 16, 12, 12)
    from monai.inferers import SlidingWindowInferer

    expected = SlidingWindowInferer((8, 8, 8), overlap=0.5, mode="gaussian")(x, unet())
    torch.testing.assert_close(model(x).detach(), expected.detach(), rtol=1e-5, atol=1e-5)
    other = load_model(path, sliding_window=SlidingWindow(roi=(16, 16, 16)))
    assert other.windows == "sliding_window(roi=[16, 16, 16])"


@pytest.mark.parametrize(("config", "window"), [
    (inferer(), SlidingWindow(roi=(8, 8, 8))),
    ({**inferer(roi_size="@patch"), "patch": [4, 4, 4]}, SlidingWindow(roi=(4, 4, 4))),
    (inferer(roi_size=16, sigma_scale=0.25), SlidingWindow(roi=(16,), sigma=0.25)),
    (inferer(roi_size="$patch"), None),
    (inferer(padding_mode="reflect"), None),
    (inferer(roi_size=[-1, 8, 8]), None),
    ({"inferer": {"_target_": "SimpleInferer"}}, None),
    ({}, None),
])  # fmt: skip
def test_of_a_configuration_what_is_plain_is_read(config, window):
    assert bundle_window(config) == window


def test_wrong_windows_are_told():
    with pytest.raises(InputError, match="roi must have 3 sides for this network, got 2"):
        load_model(UNET, sliding_window="sliding_window(roi=[8, 8])")
    with pytest.raises(OptionError, match="did you mean 'overlap'"):
        load_model(UNET, sliding_window="sliding_window(roi=[8], overlp=0.5)")
    with pytest.raises(OptionError, match="unknown sliding window 'window'"):
        load_model(UNET, sliding_window="window(roi=[8])")
