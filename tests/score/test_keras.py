import json
import os
import subprocess
import sys
import zipfile

import pytest
import torch

from tests.score.payloads import batch
from voxplain.errors import FileError, InputError, TrustError
from voxplain.score.load import load_model
from voxplain.types import Access

pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def classifier(keras):
    """A picture classifier of three classes with a residual sum, in Keras's own layout."""
    keras.utils.set_random_seed(3)
    start = keras.Input((12, 10, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(start)
    x = keras.layers.Add(name="sum")([x, keras.layers.BatchNormalization(name="norm")(x)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(start, keras.layers.Dense(3, name="last")(x))


ROUNDING = 1e-6
"""A translated layer rounds otherwise than Keras: it multiplies and adds in another order."""


@pytest.fixture
def as_it_is(monkeypatch):
    """Keras models run in Keras's own operations, as those do that cannot be translated."""
    monkeypatch.setattr("voxplain.score.keras.translated", lambda *_, **__: "layer 'x' is a Strange")


def last(x):
    return x.movedim(1, -1)


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_classifier_answers_as_the_original_but_channels_first(classifier, tmp_path, name):
    classifier.save(tmp_path / name)
    x = batch(2, 2, 12, 10)
    model = load_model(str(tmp_path / name))
    assert torch.allclose(model(x), classifier(last(x), training=False), atol=ROUNDING)
    assert (model.channels, model.rank, model.fixed_batch, model.label) == (2, 2, None, "net")


def test_maps_of_a_volume_come_back_channels_first(keras, tmp_path):
    start = keras.Input((6, 5, 4, 1))
    segmenter = keras.Model(start, keras.layers.Conv3D(3, 3, padding="same")(start))
    segmenter.save(tmp_path / "net.keras")
    x = batch(2, 1, 6, 5, 4)
    model = load_model(str(tmp_path / "net.keras"))
    assert torch.allclose(model(x), segmenter(last(x), training=False).movedim(-1, 1), atol=ROUNDING)
    assert (model.channels, model.rank) == (1, 3)


@pytest.mark.usefixtures("as_it_is")
@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_what_cannot_be_translated_answers_exactly_as_the_original(classifier, tmp_path, name):
    classifier.save(tmp_path / name)
    x = batch(2, 2, 12, 10)
    assert torch.equal(load_model(str(tmp_path / name))(x), classifier(last(x), training=False))


@pytest.mark.usefixtures("as_it_is")
def test_what_cannot_be_translated_allows_layers_and_says_why(classifier, tmp_path):
    classifier.save(tmp_path / "net.keras")
    model = load_model(str(tmp_path / "net.keras"))
    assert model.access is Access.LAYERS
    assert model.reason == "it is a Keras model that runs in Keras's own operations: layer 'x' is a Strange"


@pytest.mark.usefixtures("as_it_is")
def test_layers_of_what_cannot_be_translated_are_tapped_channels_first(classifier, keras, tmp_path):
    classifier.save(tmp_path / "net.keras")
    model, x, seen = load_model(str(tmp_path / "net.keras")), batch(2, 2, 12, 10), []
    model.layer("first").register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(x)
    inner = keras.Model(classifier.inputs, classifier.get_layer("first").output)
    assert torch.equal(seen[0], inner(last(x), training=False).movedim(-1, 1))


@pytest.mark.parametrize("fixtures", [(), ("as_it_is",)])
def test_gradients_flow_to_the_input_and_to_a_tapped_layer(fixtures, request, classifier, tmp_path):
    list(map(request.getfixturevalue, fixtures))
    classifier.save(tmp_path / "net.keras")
    model, x, seen = load_model(str(tmp_path / "net.keras")), batch(1, 2, 12, 10).requires_grad_(), []
    model.layer("norm").register_forward_hook(lambda module, inputs, output: seen.append(output))
    own, inner = torch.autograd.grad(model(x)[:, 1].sum(), [x, seen[0]])
    weight = torch.as_tensor(classifier.get_layer("last").kernel.numpy()[:, 1])
    assert torch.allclose(inner, (weight / 120)[None, :, None, None].expand(1, 4, 12, 10), atol=1e-7)
    assert own.shape == x.shape
    assert own.abs().sum() > 0


@pytest.mark.parametrize("fixtures", [(), ("as_it_is",)])
def test_changing_what_a_tap_saw_changes_the_answer(fixtures, request, classifier, tmp_path):
    list(map(request.getfixturevalue, fixtures))
    classifier.save(tmp_path / "net.keras")
    model, x = load_model(str(tmp_path / "net.keras")), batch(1, 2, 12, 10)
    before = model(x)
    handle = model.layer("sum").register_forward_hook(lambda module, inputs, output: output * 0)
    silenced = model(x)
    handle.remove()
    assert torch.allclose(silenced, torch.as_tensor(classifier.get_layer("last").bias.numpy())[None], atol=1e-7)
    assert torch.equal(model(x), before)


@pytest.mark.usefixtures("as_it_is")
def test_a_second_copy_has_taps_of_its_own(classifier, tmp_path):
    from voxplain.score.prepared import prepare

    classifier.save(tmp_path / "net.keras")
    model, seen = load_model(str(tmp_path / "net.keras")), []
    model.layer("first").register_forward_hook(lambda *_: seen.append("first model"))
    twin = prepare(model.module).module
    twin.get_submodule("first").register_forward_hook(lambda *_: seen.append("copy"))
    twin(batch(1, 2, 12, 10))
    assert seen == ["copy"]


def test_a_model_that_ends_in_probabilities_says_so(keras, tmp_path):
    start = keras.Input((8, 8, 1))
    answer = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalMaxPooling2D()(start))
    keras.Model(start, answer).save(tmp_path / "net.keras")
    assert any("ends in softmax" in notice for notice in load_model(str(tmp_path / "net.keras")).notices)


def test_several_inputs_are_refused_in_words(keras, tmp_path):
    starts = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    keras.Model(starts, keras.layers.Add()(starts)).save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"must take one tensor of 2D or 3D images"):
        load_model(str(tmp_path / "net.keras"))


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_lambda_is_refused_and_does_not_run(keras, tmp_path, name):
    ran = tmp_path / "ran"
    start = keras.Input((8, 8, 1))
    body = eval(f"lambda x: (__import__('os').makedirs({str(ran)!r}, exist_ok=True), x)[1]")
    keras.Model(start, keras.layers.Lambda(body)(start)).save(tmp_path / name)
    assert ran.exists()  # building the model already ran it: the payload is a live one
    ran.rmdir()
    with pytest.raises(TrustError, match=r"would run code of its own when loaded \(Lambda.*\); add --trust"):
        load_model(str(tmp_path / name))
    assert not ran.exists()


def test_a_lambda_loads_when_trusted_by_name(keras, tmp_path):
    start = keras.Input((8, 8, 1))
    keras.Model(start, keras.layers.Lambda(lambda x: 2 * x)(start)).save(tmp_path / "net.keras")
    path, x = str(tmp_path / "net.keras"), batch(1, 1, 8, 8)
    assert torch.equal(load_model(path, trust=[path])(x), 2 * x)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("mypackage.layers", "Mine"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.saving", "function"),
        ("keras.layers", "TFSMLayer"),
    ],
)
def test_an_object_from_elsewhere_is_refused(classifier, tmp_path, module, name):
    classifier.save(tmp_path / "net.keras")
    with zipfile.ZipFile(tmp_path / "net.keras") as source, zipfile.ZipFile(tmp_path / "evil.keras", "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "config.json":
                document = json.loads(content)
                document["config"]["layers"][1] |= {"module": module, "class_name": name}
                content = json.dumps(document)
            target.writestr(member, content)
    with pytest.raises(TrustError, match=name):
        load_model(str(tmp_path / "evil.keras"))


def test_keras_on_another_backend_is_told_in_words(classifier, tmp_path, keras, monkeypatch):
    classifier.save(tmp_path / "net.keras")
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(InputError, match=r"Keras was imported with backend 'jax'; set KERAS_BACKEND=torch before"):
        load_model(str(tmp_path / "net.keras"))


@pytest.mark.slow
def test_a_fresh_process_gets_the_torch_backend(classifier, tmp_path, repository):
    classifier.save(tmp_path / "net.keras")
    code = (
        "import sys; from voxplain.score.load import load_model; load_model(sys.argv[1]); "
        "import keras; print(keras.config.backend())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment |= {"PYTHONPATH": str(repository / "src"), "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "net.keras"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "torch", done.stderr


def test_empty_truncated_missing_and_foreign_files_give_one_sentence(classifier, tmp_path):
    for name in ("net.keras", "net.h5"):
        classifier.save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        for kept, words in ((0, "is empty"), (len(content) // 2, "not a readable Keras"), (5, "not a readable Keras")):
            (tmp_path / name).write_bytes(content[:kept])
            with pytest.raises(FileError, match=words) as caught:
                load_model(str(tmp_path / name))
            assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=r"does not exist$"):
        load_model(str(tmp_path / "none.keras"))
