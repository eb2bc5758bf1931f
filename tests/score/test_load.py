import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.score.payloads import Payload, batch, checkpoint, small_network
from voxplain.errors import FileError, InputError, KindError, MissingExtra, OptionError, TrustError
from voxplain.score.load import load_model
from voxplain.types import Access

RANDOM = ("no --weights were given, so the network's weights are random",)


def saved_weights(path, network):
    torch.save(network.state_dict(), path)
    return path


def torchvision_network():
    pytest.importorskip("torchvision")
    from torchvision.models import squeezenet1_1

    return squeezenet1_1(num_classes=3), "torchvision.models:squeezenet1_1(num_classes=3)", (1, 3, 32, 32)


def torchvision_segmenter():
    pytest.importorskip("torchvision")
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
    return network, "torchvision.models.segmentation:lraspp_mobilenet_v3_large(num_classes=2)", (1, 3, 32, 32)


def torchvision_transformer():
    pytest.importorskip("torchvision")
    from torchvision.models import VisionTransformer

    options = {"image_size": 16, "patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
    written = ", ".join(f"{key}={value}" for key, value in options.items())
    return VisionTransformer(**options), f"torchvision.models:VisionTransformer({written})", (1, 3, 16, 16)


def timm_network():
    timm = pytest.importorskip("timm")
    return (
        timm.create_model("resnet10t", num_classes=3),
        "timm:create_model('resnet10t', num_classes=3)",
        (1, 3, 32, 32),
    )


def timm_network_with_a_dot():
    network, source, shape = timm_network()
    return network, source.replace(":", "."), shape


def monai_network():
    nets = pytest.importorskip("monai.networks.nets")
    options = "spatial_dims=3, in_channels=1, out_channels=2, init_features=4, growth_rate=2, block_config=[1, 1]"
    network = nets.DenseNet(
        spatial_dims=3, in_channels=1, out_channels=2, init_features=4, growth_rate=2, block_config=(1, 1)
    )
    return network, f"monai.networks.nets:DenseNet({options})", (1, 1, 16, 16, 16)


def own_network():
    from voxplain.score.networks import small_cnn_3d

    return small_cnn_3d(classes=3), "voxplain.score.networks:small_cnn_3d(classes=3)", (1, 1, 8, 8, 8)


def own_network_by_name():
    network, source, shape = own_network()
    return network, source.partition(":")[2], shape


NETWORKS = [
    torchvision_network,
    torchvision_segmenter,
    torchvision_transformer,
    timm_network,
    timm_network_with_a_dot,
    monai_network,
    own_network,
    own_network_by_name,
]


@pytest.mark.parametrize("make", NETWORKS)
def test_a_named_network_with_weights_answers_exactly_as_the_original(make, tmp_path):
    network, source, shape = make()
    path = saved_weights(tmp_path / "w.pt", network.eval())
    output = "out" if make is torchvision_segmenter else None
    model, x = load_model(source, weights=path, output=output), batch(*shape)
    expected = network(x)
    assert torch.equal(model(x), expected[output] if output else expected)
    assert (model.rank, model.channels) == (len(shape) - 2, shape[1])
    assert model.access is Access.RULES
    assert model.notices == ()


def test_imagenet_weights_without_pickle_fit_the_network_of_torchvision(data_folder):
    pytest.importorskip("torchvision")
    path = data_folder / "weights" / "squeezenet1_0_imagenet.npz"
    model = load_model("torchvision.models:squeezenet1_0()", weights=path)
    assert model(batch(1, 3, 64, 64)).shape == (1, 1000)
    assert model.notices == ()


def test_a_network_without_weights_says_that_they_are_random():
    assert load_model("small_cnn_2d").notices == RANDOM


def test_the_label_is_the_callables_name():
    assert load_model("voxplain.score.networks:small_unet(classes=3)").label == "small_unet"


def test_output_head_and_class_names_are_handed_on():
    model = load_model("small_cnn_2d()", output="0", head="multi_label", class_names=["a", "b"])
    assert (model.output, model.head, model.class_names) == ("0", "multi_label", ("a", "b"))


def test_defaults_that_would_download_are_turned_off():
    pytest.importorskip("monai")
    network = load_model(
        "monai.networks.nets:EfficientNetBN('efficientnet-b0', num_classes=2)"
    )  # pretrained by default
    assert network.notices == RANDOM


@pytest.mark.parametrize(
    "source",
    [
        "torchvision.models:resnet18(weights='DEFAULT')",
        "torchvision.models:resnet18(pretrained=True)",
        "torchvision.models.segmentation:fcn_resnet50(weights_backbone='DEFAULT')",
        "timm:create_model('resnet10t', pretrained=True)",
        "timm:create_model('resnet10t', True)",
        "timm:create_model('resnet10t', checkpoint_path='w.pt')",
        "timm:create_model('hf-hub:someone/something')",
        "monai.networks.nets:resnet10(pretrained='w.pt')",
    ],
)
def test_options_that_would_fetch_weights_are_refused(source):
    pytest.importorskip(source.partition(".")[0].partition(":")[0])
    with pytest.raises(OptionError, match=r"nothing is downloaded; pass --weights FILE$"):
        load_model(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("torchvision.models:resnet18(num_clases=3)", r"^torchvision.models:resnet18: .*'num_clases'"),
        ("torchvision.models:resnet81()", "^unknown network of torchvision.models 'resnet81'; did you mean 'resnet18'"),
        ("torchvision.models:list_models()", "^unknown network of torchvision.models 'list_models'"),
        ("torchvision.models:_api()", "unknown network"),
        ("torchvision.models:partial()", "unknown network"),
        ("torchvision.models:resnet18(3, 4)", "too many positional arguments; it takes weights"),
        ("torchvision.models:resnet18(num_classes=-1)", "^torchvision.models:resnet18: "),
        ("timm:list_models()", "unknown network of timm 'list_models'"),
        ("timm:create_model()", "missing a required argument: 'model_name'"),
        ("timm:create_model('resnet10q')", "^unknown timm model 'resnet10q'; did you mean 'resne"),
        ("voxplain.score.networks:nn()", "unknown network of voxplain.score.networks 'nn'; choose from deepseg_unet"),
        ("small_cnn_2d(classes=f(2))", r"classes must be a literal value, got the call f\(\.\.\.\)$"),
        ("small_cnn_2d(classes=open)", "may hold literal values only, got 'open'$"),
        ("small_cnn_2d(classes=", r"must read like name\(option=value\)$"),
        ("small_cnn_2d(**{'classes': 3})", r"must read like name\(option=value\)$"),
        ("small_cnn_9d", "unknown network of voxplain.score.networks 'small_cnn_9d'; did you mean 'small_cnn_.d'"),
    ],
)
def test_wrong_callables_and_options_give_one_sentence(source, words):
    if source.startswith(("torchvision", "timm")):
        pytest.importorskip(source.partition(":")[0].partition(".")[0])
    with pytest.raises(OptionError, match=words) as caught:
        load_model(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    ["torchvision.models:resnet.sys.modules()", "voxplain.score.networks:nn.Linear(2, 3)", "small_cnn_2d.__class__()"],
)
def test_a_callable_is_never_reached_through_attributes(source):
    with pytest.raises((OptionError, FileError)):
        load_model(source)


def test_what_a_listed_package_only_imported_is_not_its_own(tmp_path, monkeypatch):
    models = pytest.importorskip("torchvision.models")
    monkeypatch.setattr(models, "mkdir", os.mkdir, raising=False)
    with pytest.raises(OptionError, match=r"unknown network of torchvision\.models 'mkdir'"):
        load_model(f"torchvision.models:mkdir({str(tmp_path / 'ran')!r})")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", ["os:mkdir({!r})", "posix:mkdir({!r})", "torchvision.models.resnet:nn({!r})"])
def test_a_callable_off_the_list_is_refused_and_does_not_run(source, tmp_path):
    with pytest.raises(
        TrustError, match=r"would run '.*', which is not on the list \(torchvision.models, .*add --trust "
    ):
        load_model(source.format(str(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


def test_the_call_off_the_list_is_a_live_one(tmp_path):
    with pytest.raises(KindError, match=r"os:mkdir must build a torch.nn.Module, got NoneType"):
        load_model(f"os:mkdir({str(tmp_path / 'ran')!r})", trust=["os"])
    assert (tmp_path / "ran").exists()


def test_the_module_off_the_list_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "module_for_a_test_of_trust.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrustError):
        load_model("module_for_a_test_of_trust:build()")
    assert not (tmp_path / "ran").exists()


SCRIPT = """
from torch import nn

def build(classes=2):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes))

VALUE = 3
"""


@pytest.mark.parametrize("trust", ["{place}", "{place}:build", "{place}:build(classes=3)"])
def test_a_trusted_file_builds_its_network(tmp_path, trust):
    place = str(tmp_path / "mynet.py")
    (tmp_path / "mynet.py").write_text(SCRIPT)
    model = load_model(f"{place}:build(classes=3)", trust=[trust.format(place=place)])
    assert model(batch(2, 1, 4, 4)).shape == (2, 3)
    assert model.notices == ()


def test_a_file_is_not_run_without_trust_in_its_name(tmp_path):
    place = tmp_path / "mynet.py"
    place.write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    with pytest.raises(TrustError, match=r"add --trust .*mynet\.py if"):
        load_model(f"{place}:build()", trust=["mynet", "mynet.py", str(tmp_path)])
    assert not (tmp_path / "ran").exists()


def test_a_trusted_file_with_a_mistake_gives_one_sentence(tmp_path):
    (tmp_path / "mynet.py").write_text("import nosuchmodule\n")
    place = str(tmp_path / "mynet.py")
    with pytest.raises(InputError, match=r"cannot be imported: No module named 'nosuchmodule'$"):
        load_model(f"{place}:build()", trust=[place])


def test_a_trusted_file_without_that_callable_names_those_it_has(tmp_path):
    (tmp_path / "mynet.py").write_text(SCRIPT)
    place = str(tmp_path / "mynet.py")
    with pytest.raises(OptionError, match=r"unknown callable of .*mynet.py 'biuld'; did you mean 'build'"):
        load_model(f"{place}:biuld()", trust=[place])


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        MissingExtra, match=r"needs the package 'timm'; install it with: pip install 'voxplain\[hub\]'$"
    ):
        load_model("timm:create_model('resnet10t')")


@pytest.mark.parametrize("name", ["net.pt", "net.pth"])
def test_a_pickled_module_is_refused_and_does_not_run(tmp_path, name):
    network = small_network()
    network.note = Payload(tmp_path / "ran")
    torch.save(network, tmp_path / name)
    path = str(tmp_path / name)
    with pytest.raises(TrustError) as caught:
        load_model(path)
    assert str(caught.value) == (
        f"model {path!r} is a pickled module and would run its own code when loaded; "
        f"add --trust {path} if you know where it comes from"
    )
    assert not (tmp_path / "ran").exists()
    load_model(path, trust=[path])
    assert (tmp_path / "ran").exists()


def test_a_trusted_pickled_module_answers_exactly_as_the_original(tmp_path):
    torch.save(small_network(), tmp_path / "net.pt")
    x, path = batch(2, 1, 8, 8), str(tmp_path / "net.pt")
    assert torch.equal(load_model(path, trust=[path])(x), small_network()(x))


def test_a_module_inside_a_trusted_checkpoint_is_taken_with_a_notice(tmp_path):
    torch.save({"epoch": 3, "model": small_network()}, tmp_path / "net.pt")
    path = str(tmp_path / "net.pt")
    assert "entry 'model'" in load_model(path, trust=[path]).notices[0]


def test_a_pickled_checkpoint_as_a_model_is_refused_and_does_not_run(tmp_path):
    path = checkpoint(tmp_path / "net.pt", tmp_path / "ran")
    with pytest.raises(TrustError):
        load_model(str(path))
    assert not (tmp_path / "ran").exists()


def test_a_pickled_checkpoint_as_weights_is_refused_and_does_not_run(tmp_path):
    path = checkpoint(tmp_path / "w.pt", tmp_path / "ran")
    with pytest.raises(TrustError, match=r"^weights '.*w\.pt' is a pickled checkpoint"):
        load_model("small_cnn_2d", weights=path)
    assert not (tmp_path / "ran").exists()


def test_a_scripted_program_needs_trust_and_offers_gradients(tmp_path):
    torch.jit.script(small_network()).save(str(tmp_path / "net.pt"))
    path, x = str(tmp_path / "net.pt"), batch(2, 1, 8, 8)
    with pytest.raises(TrustError, match=r"is a TorchScript program and would run what is stored in it"):
        load_model(path)
    model = load_model(path, trust=[path])
    assert torch.allclose(model(x), small_network()(x), atol=1e-6)
    assert model.access is Access.GRADIENT


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.npz"])
def test_a_file_of_weights_as_a_model_is_explained(tmp_path, name):
    torch.save(small_network().state_dict(), tmp_path / name)
    with pytest.raises(InputError, match=r"holds weights only; name the network with --model .* as --weights$"):
        load_model(str(tmp_path / name))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nosuch.pt2", "^model 'nosuch.pt2' does not exist$"),
        ("folder/nosuch.pt", "does not exist$"),
        ("folder/nosuch", "^model 'folder/nosuch' does not exist: there is no such file, folder or "),
        ("", "^model .. must end in"),
    ],
)
def test_a_model_that_is_not_there_is_told_so(source, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=words):
        load_model(source)


def test_a_dot_for_the_colon_is_corrected():
    with pytest.raises(InputError, match=r"write torchvision\.models:resnet18\(\.\.\.\)$"):
        load_model("torchvision.models.resnet18(num_classes=3)")


def test_a_file_of_another_kind_names_the_known_ones(tmp_path):
    (tmp_path / "net.txt").write_text("hello")
    with pytest.raises(
        FileError, match=r"must end in \.pt2, \.onnx, \.keras, \.h5 or \.pt, or be a folder or a callable$"
    ):
        load_model(str(tmp_path / "net.txt"))


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.ckpt"])
def test_text_and_truncated_files_of_torch_give_one_sentence(tmp_path, name):
    torch.save(small_network(), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for broken in (b"hello", content[: len(content) // 2]):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(FileError) as caught:
            load_model(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_trust_in_names_that_nothing_has_changes_nothing():
    assert load_model("small_cnn_2d", trust=["nosuch", "os"]).label == "small_cnn_2d"


def test_the_module_of_a_trusted_callable_is_never_changed(monkeypatch):
    import types

    network = small_network().train()
    module = types.ModuleType("module_with_a_network_for_a_test")
    module.build = lambda: network
    monkeypatch.setitem(sys.modules, module.__name__, module)
    load_model(f"{module.__name__}:build()", trust=[module.__name__])
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_wrapped_network_of_another_name_keeps_its_weights(tmp_path):
    network = small_network()
    path = saved_weights(tmp_path / "w.pt", nn.DataParallel(network))
    (tmp_path / "mynet.py").write_text(
        "from tests.score.payloads import small_network\n\ndef build():\n    return small_network(seed=8)\n"
    )
    place, x = str(tmp_path / "mynet.py"), batch(1, 1, 8, 8)
    model = load_model(f"{place}:build", weights=path, trust=[place])
    assert torch.equal(model(x), network(x))
    assert model.notices == ("the prefix 'module.' was taken off the names of the weights",)


@pytest.mark.slow
def test_the_loader_imports_no_optional_package_by_itself(repository):
    code = (
        "import sys, voxplain.score.load; "
        "print([n for n in ('torchvision', 'timm', 'monai', 'keras', 'onnxruntime', 'h5py') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(repository / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
