import json

import pytest
import torch

from tests.score.payloads import batch, checkpoint
from voxplain.errors import FileError, InputError, OptionError, TrustError
from voxplain.score.bundle import load_bundle
from voxplain.score.load import load_model

pytest.importorskip("monai")

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
}
METADATA = {
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": [16, 16, 16]}},
        "outputs": {"pred": {"num_channels": 2, "channel_def": {"1": "spleen", "0": "background"}}},
    }
}


def unet(seed=0):
    from monai.networks.nets import UNet

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(**{key: value for key, value in NETWORK.items() if key != "_target_"}).eval()


def bundle(folder, config=None, *, metadata=METADATA, weights=True, name="inference.json"):
    (folder / "configs").mkdir()
    (folder / "models").mkdir()
    text = json.dumps({"network_def": NETWORK} if config is None else config)
    (folder / "configs" / name).write_text(text)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    if weights:
        torch.save(unet().state_dict(), folder / "models" / "model.pt")
    return str(folder)


def test_a_bundle_answers_exactly_as_the_original(tmp_path):
    x = batch(1, 1, 8, 8, 8)
    assert torch.equal(load_model(bundle(tmp_path))(x), unet()(x))


def test_channels_rank_and_class_names_come_from_the_metadata(tmp_path):
    model = load_model(bundle(tmp_path))
    assert (model.channels, model.rank, model.class_names) == (1, 3, ("background", "spleen"))
    assert model.label == tmp_path.name


def test_class_names_of_the_user_come_first(tmp_path):
    assert load_model(bundle(tmp_path), class_names=("a", "b")).class_names == ("a", "b")


def test_a_bundle_without_metadata_still_loads(tmp_path):
    path = bundle(tmp_path, metadata={"version": "1"})
    assert load_bundle(path).class_names == ()


def test_yaml_is_read_like_json(tmp_path):
    x = batch(1, 1, 8, 8, 8)
    model = load_model(bundle(tmp_path, name="inference.yaml"))  # JSON is YAML
    assert torch.equal(model(x), unet()(x))


def test_a_yaml_tag_that_builds_an_object_is_an_error_and_does_not_run(tmp_path):
    path = bundle(tmp_path, name="inference.yaml")
    text = f"network_def: !!python/object/apply:os.mkdir ['{tmp_path / 'ran'}']\n"
    (tmp_path / "configs" / "inference.yaml").write_text(text)
    with pytest.raises(FileError, match=r"cannot be read"):
        load_bundle(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("target", ["UNet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"])
def test_the_callable_may_be_spelled_short_or_in_full(tmp_path, target):
    assert load_bundle(bundle(tmp_path, {"network_def": NETWORK | {"_target_": target}})).module is not None


def test_references_to_other_entries_are_followed(tmp_path):
    x = batch(1, 1, 8, 8, 8)
    config = {"width": {"first": [4, 8]}, "network_def": NETWORK | {"channels": "@width::first"}}
    assert torch.equal(load_model(bundle(tmp_path, config))(x), unet()(x))


def test_callables_that_the_network_does_not_need_are_never_built(tmp_path):
    config = {"network_def": NETWORK, "transform": {"_target_": "os.mkdir", "path": str(tmp_path / "ran")}}
    load_bundle(bundle(tmp_path, config))
    assert not (tmp_path / "ran").exists()


def payload(marker):
    return f"$__import__('os').mkdir({str(marker)!r})"


@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"network_def": text},
        lambda text: {"network_def": NETWORK | {"in_channels": text}},
        lambda text: {"network_def": NETWORK | {"_target_": text}},
        lambda text: {"network_def": NETWORK | {"channels": [4, text]}},
        lambda text: {"network_def": NETWORK | {"in_channels": "@count"}, "count": text},
        lambda text: {"network_def": NETWORK | {"_requires_": [text]}},
        lambda text: {"network_def": NETWORK, "imports": [text]},
        lambda text: {"network_def": NETWORK, "deep": {"er": [{"still": " " + text}]}},
    ],
)
def test_an_expression_anywhere_is_refused_and_does_not_run(tmp_path, place):
    path = bundle(tmp_path, place(payload(tmp_path / "ran")))
    with pytest.raises(TrustError, match=r"would evaluate its own code \( ?\$__import__.+\); add --trust "):
        load_bundle(path)
    assert not (tmp_path / "ran").exists()


def test_monai_itself_would_run_that_expression(tmp_path):
    path = bundle(
        tmp_path, {"network_def": NETWORK, "side": payload(tmp_path / "ran"), "network": "$@side or @network_def"}
    )
    load_bundle(path, trust=[path])  # prefers the plain network_def, which needs no expression
    assert not (tmp_path / "ran").exists()
    (tmp_path / "configs" / "inference.json").write_text(json.dumps({"network": payload(tmp_path / "ran")}))
    with pytest.raises(Exception, match=r"must be a torch.nn.Module, got NoneType"):
        load_bundle(path, trust=[path])
    assert (tmp_path / "ran").exists()


def test_a_macro_that_pulls_in_another_file_is_refused(tmp_path):
    with pytest.raises(TrustError, match=r"\(%other.json#net\)"):
        load_bundle(bundle(tmp_path, {"network_def": "%other.json#net"}))


@pytest.mark.parametrize(
    "target", ["os.mkdir", "torch.hub.load", "monai.bundle.run", "monai.data.load_decathlon_datalist"]
)
def test_a_callable_off_the_list_is_refused_and_does_not_run(tmp_path, target):
    config = {"network_def": {"_target_": target, "path": str(tmp_path / "ran")}}
    with pytest.raises(TrustError, match=f"would run '{target}', which is not on the list"):
        load_bundle(bundle(tmp_path, config))
    assert not (tmp_path / "ran").exists()


def test_a_callable_off_the_list_inside_the_network_is_refused(tmp_path):
    inner = {"_target_": "os.mkdir", "path": str(tmp_path / "ran")}
    with pytest.raises(TrustError, match=r"would run 'os.mkdir'"):
        load_bundle(bundle(tmp_path, {"network_def": NETWORK | {"act": inner}}))
    assert not (tmp_path / "ran").exists()


def test_a_callable_reached_through_a_listed_package_is_unknown(tmp_path):
    config = {"network_def": {"_target_": "monai.networks.nets.os.mkdir", "path": str(tmp_path / "ran")}}
    with pytest.raises(OptionError, match=r"unknown network of monai.networks.nets 'mkdir'"):
        load_bundle(bundle(tmp_path, config))
    assert not (tmp_path / "ran").exists()


def test_the_debugger_mode_is_refused(tmp_path):
    with pytest.raises(TrustError):
        load_bundle(bundle(tmp_path, {"network_def": NETWORK | {"_mode_": "debug"}}))


def test_pretrained_weights_are_not_downloaded(tmp_path):
    config = {"network_def": {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "pretrained": True}}
    with pytest.raises(OptionError, match=r"nothing is downloaded; pass --weights FILE"):
        load_bundle(bundle(tmp_path, config))


def test_a_trusted_bundle_may_use_expressions(tmp_path):
    x = batch(1, 1, 8, 8, 8)
    path = bundle(tmp_path, {"width": 4, "network_def": NETWORK | {"channels": "$[@width, 2 * @width]"}})
    assert torch.equal(load_model(path, trust=[path])(x), unet()(x))


def test_a_trusted_bundle_may_use_the_scripts_beside_it(tmp_path):
    (tmp_path / "bundle_scripts_for_a_test").mkdir()
    (tmp_path / "bundle_scripts_for_a_test" / "__init__.py").write_text(
        "from monai.networks.nets import UNet\n\ndef build(**options):\n    return UNet(**options)\n"
    )
    path = bundle(tmp_path, {"network_def": NETWORK | {"_target_": "bundle_scripts_for_a_test.build"}})
    with pytest.raises(TrustError):
        load_bundle(path)
    x = batch(1, 1, 8, 8, 8)
    assert torch.equal(load_model(path, trust=[path])(x), unet()(x))


def test_a_pickled_model_inside_is_refused_and_does_not_run(tmp_path):
    path = bundle(tmp_path)
    checkpoint(tmp_path / "models" / "model.pt", tmp_path / "ran")
    with pytest.raises(TrustError, match=r"is a pickled checkpoint and would run its own code"):
        load_bundle(path)
    assert not (tmp_path / "ran").exists()


def test_weights_of_the_user_replace_those_of_the_bundle(tmp_path):
    path, x = bundle(tmp_path), batch(1, 1, 8, 8, 8)
    torch.save(unet(seed=9).state_dict(), tmp_path / "w.pt")
    assert torch.equal(load_model(path, weights=tmp_path / "w.pt")(x), unet(seed=9)(x))


def test_a_bundle_without_weights_says_that_they_are_random(tmp_path):
    notices = load_model(bundle(tmp_path, weights=False)).notices
    assert notices == (
        "the bundle has no models/model.pt and no --weights were given, so the network's weights are random",
    )


def test_a_folder_that_is_no_bundle_gives_one_sentence(tmp_path):
    with pytest.raises(FileError, match=r"must be a MONAI bundle with configs/inference.json or .yaml$"):
        load_model(str(tmp_path))


def test_a_bundle_without_a_network_gives_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"must describe its network under 'network_def' or 'network'$"):
        load_bundle(bundle(tmp_path, {"device": "cpu"}))


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\x00"])
def test_a_damaged_configuration_gives_one_sentence(tmp_path, content):
    path = bundle(tmp_path)
    (tmp_path / "configs" / "inference.json").write_text(content)
    with pytest.raises(FileError) as caught:
        load_bundle(path)
    assert "\n" not in str(caught.value)


def test_options_the_network_refuses_give_one_sentence(tmp_path):
    path = bundle(tmp_path, {"network_def": NETWORK | {"strides": []}})
    with pytest.raises(InputError, match=r"its network cannot be built: ") as caught:
        load_bundle(path)
    assert "\n" not in str(caught.value)
