"""Keras models as torch networks: every layer of the table, whole graphs, and all accesses on a Keras Xception."""

import pytest
import torch

from tests.score.payloads import batch
from voxplain.methods import method
from voxplain.score.keras_translated import translated
from voxplain.score.load import load_model
from voxplain.score.score import Score
from voxplain.types import Access

pytest.importorskip("h5py")

ROUNDING = 1e-5
"""Share of the largest value by which a torch computation may differ from Keras's in float32."""


def shaken(keras, model):
    """The model as after training: every weight, shift and statistic has a value of its own."""
    for number, weight in enumerate(model.weights):
        noise = torch.rand(tuple(weight.shape), generator=torch.Generator().manual_seed(number))
        kernel = len(weight.shape) > 1
        weight.assign(weight + (0.2 * noise - 0.1 if kernel else 0.5 * noise))
    return model


def agree(model, x, *, last=True):
    """Assert that the model is translated and says the same; returns the translation."""
    sizes = model.input_shape
    network = translated(model, (sizes[0], sizes[-1], *sizes[1:-1]) if last else sizes, last=last)
    assert not isinstance(network, str), network
    expected = model(x.movedim(1, -1) if last else x, training=False).detach()
    expected = expected.movedim(-1, 1) if last and expected.ndim == x.ndim else expected
    found = network(x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= ROUNDING * expected.abs().max()
    return network


PICTURES = {
    "a strided convolution with same padding": lambda k: k.Conv2D(5, 3, strides=2, padding="same"),
    "an even kernel": lambda k: k.Conv2D(5, (2, 4), padding="same", activation="gelu"),
    "a dilated convolution": lambda k: k.Conv2D(5, 3, dilation_rate=2, padding="same", use_bias=False),
    "a grouped convolution": lambda k: k.Conv2D(6, 3, groups=3),
    "a depthwise convolution": lambda k: k.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"),
    "a separable convolution": lambda k: k.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu"),
    "a transposed convolution": lambda k: k.Conv2DTranspose(4, 3, strides=2, padding="same", activation="elu"),
    "an unpadded transposed convolution": lambda k: k.Conv2DTranspose(4, (4, 3), strides=(2, 1)),
    "a batch norm": lambda k: k.BatchNormalization(),
    "a batch norm without scale": lambda k: k.BatchNormalization(scale=False, center=False),
    "a layer norm": lambda k: k.LayerNormalization(),
    "a group norm": lambda k: k.GroupNormalization(groups=3),
    "a maximum with same padding": lambda k: k.MaxPooling2D(3, strides=2, padding="same"),
    "a maximum": lambda k: k.MaxPooling2D((2, 3)),
    "a mean with same padding": lambda k: k.AveragePooling2D(3, strides=2, padding="same"),
    "a mean with as much padding behind": lambda k: k.AveragePooling2D(3, strides=1, padding="same"),
    "a mean": lambda k: k.AveragePooling2D(2),
    "a global mean": lambda k: k.GlobalAveragePooling2D(),
    "a global maximum that keeps its axes": lambda k: k.GlobalMaxPooling2D(keepdims=True),
    "zeros around": lambda k: k.ZeroPadding2D(((1, 2), (3, 0))),
    "a cut": lambda k: k.Cropping2D(((1, 2), (3, 0))),
    "nearest enlarging": lambda k: k.UpSampling2D((2, 3)),
    "bilinear enlarging": lambda k: k.UpSampling2D(2, interpolation="bilinear"),
    "a flatten": lambda k: k.Flatten(),
    "a reshape to rows": lambda k: k.Reshape((-1, 6)),
    "a reshape to a map": lambda k: k.Reshape((5, 11, 12)),
    "a permutation": lambda k: k.Permute((2, 1, 3)),
    "a dense layer over channels": lambda k: k.Dense(4, activation="softmax"),
    "a rescaling": lambda k: k.Rescaling(1 / 127.5, offset=-1),
    "a rescaling a channel": lambda k: k.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], offset=[0.0] * 6),
    "a normalisation": lambda k: k.Normalization(mean=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], variance=[1.0] * 5 + [4.0]),
    "a leaky ReLU": lambda k: k.LeakyReLU(negative_slope=0.3),
    "a ReLU with a ceiling": lambda k: k.ReLU(max_value=6),
    "a ReLU with a slope": lambda k: k.ReLU(negative_slope=0.1),
    "a parametric ReLU": lambda k: k.PReLU(shared_axes=[1, 2]),
    "an ELU": lambda k: k.ELU(alpha=0.5),
    "a softmax over channels": lambda k: k.Softmax(),
    "a dropout": lambda k: k.SpatialDropout2D(0.9),
    "an augmentation": lambda k: k.RandomFlip(),
}
"""Layers on maps of 6 channels and 11 x 10 places."""


@pytest.mark.parametrize("name", PICTURES)
def test_a_layer_says_what_it_says_in_keras(keras, name):
    start = keras.Input((11, 10, 6))
    model = shaken(keras, keras.Model(start, PICTURES[name](keras.layers)(start)))
    agree(model, batch(2, 6, 11, 10))


ACTIVATIONS = "relu relu6 leaky_relu selu silu softplus softsign sigmoid hard_sigmoid hard_silu tanh mish linear"


@pytest.mark.parametrize("activation", ACTIVATIONS.split())
def test_an_activation_says_what_it_says_in_keras(keras, activation):
    start = keras.Input((5, 4, 3))
    agree(keras.Model(start, keras.layers.Activation(activation)(start)), 8 * batch(2, 3, 5, 4))


VOLUMES = {
    "a convolution": lambda k: k.Conv3D(3, 3, strides=2, padding="same", activation="relu"),
    "a transposed convolution": lambda k: k.Conv3DTranspose(3, 2, strides=2),
    "a maximum": lambda k: k.MaxPooling3D(2, padding="same"),
    "a mean with same padding": lambda k: k.AveragePooling3D(3, strides=2, padding="same"),
    "zeros around": lambda k: k.ZeroPadding3D(((1, 2), (3, 0), (0, 1))),
    "a cut": lambda k: k.Cropping3D(((1, 1), (2, 0), (0, 1))),
    "an enlarging": lambda k: k.UpSampling3D((2, 1, 3)),
    "a batch norm": lambda k: k.BatchNormalization(),
    "a global mean": lambda k: k.GlobalAveragePooling3D(),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_layer_on_volumes_says_what_it_says_in_keras(keras, name):
    start = keras.Input((7, 6, 5, 2))
    agree(shaken(keras, keras.Model(start, VOLUMES[name](keras.layers)(start))), batch(2, 2, 7, 6, 5))


def test_joins_keep_the_order_of_their_inputs(keras):
    start = keras.Input((6, 5, 2))
    one, other = (keras.layers.Conv2D(2, 3, padding="same")(start) for _ in range(2))
    layers = keras.layers
    parts = [layers.Subtract()([one, other]), layers.Multiply()([one, other]), layers.Average()([one, other])]
    parts += [
        layers.Maximum()([one, other, start]),
        layers.Add()([one, other]),
        2 - one,
        other - 3,
        one * other + start,
    ]
    agree(keras.Model(start, layers.Concatenate()(parts)), batch(2, 2, 6, 5))


def test_a_layer_used_twice_stays_one_layer(keras):
    start = keras.Input((6, 5, 2))
    shared = keras.layers.Conv2D(2, 3, padding="same", name="shared")
    network = agree(keras.Model(start, shared(keras.layers.ReLU(name="act")(shared(start)))), batch(2, 2, 6, 5))
    assert [name for name, _ in network.named_children()] == ["shared", "act"]


def test_a_model_inside_a_model_gives_its_layers_by_name(keras):
    inner = keras.Sequential([keras.Input((6, 5, 2)), keras.layers.Conv2D(3, 3, name="inside")], name="backbone")
    start = keras.Input((6, 5, 2))
    outer = keras.Model(start, keras.layers.Dense(2, name="top")(keras.layers.Flatten()(inner(start))))
    network = agree(shaken(keras, outer), batch(2, 2, 6, 5))
    assert network.get_submodule("inside").weight.shape == (3, 2, 3, 3)
    assert network.get_submodule("top").weight.shape == (2, 36)


def test_a_plain_stack_is_a_graph_too(keras):
    layers = keras.layers
    stack = keras.Sequential(
        [keras.Input((8, 7, 1)), layers.Conv2D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]
    )
    agree(shaken(keras, stack), batch(3, 1, 8, 7))


def test_channels_first_models_are_not_turned(keras):
    start = keras.Input((2, 6, 5))
    x = keras.layers.Conv2D(3, 3, data_format="channels_first")(start)
    x = keras.layers.BatchNormalization(axis=1)(x)
    x = keras.layers.Flatten(data_format="channels_first")(x)
    agree(shaken(keras, keras.Model(start, keras.layers.Dense(2)(x))), batch(2, 2, 6, 5), last=False)


def test_a_layer_named_like_a_part_of_torch_is_numbered(keras):
    start = keras.Input((6, 5, 2))
    stack = keras.layers.ReLU(name="half")(keras.layers.Conv2D(2, 3, name="forward")(start))
    network = agree(keras.Model(start, stack), batch(2, 2, 6, 5))
    assert [name for name, _ in network.named_children()] == ["forward_2", "half_2"]


def test_several_outputs_keep_their_structure(keras):
    start = keras.Input((6, 5, 2))
    seg = keras.layers.Conv2D(3, 1, name="seg")(start)
    number = keras.layers.Dense(1, name="number")(keras.layers.GlobalAveragePooling2D()(start))
    model = keras.Model(start, {"map": seg, "rest": [number, start]})
    found = translated(model, (None, 2, 6, 5), last=True)(batch(2, 2, 6, 5))
    assert found["map"].shape == (2, 3, 6, 5)
    assert [tuple(one.shape) for one in found["rest"]] == [(2, 1), (2, 2, 6, 5)]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda k: k.layers.Lambda(lambda x: 2 * x, name="odd"), "layer 'odd' is a Lambda"),
        (lambda k: k.layers.Activation("exponential", name="odd"), "layer 'odd' has the activation exponential"),
        (lambda k: k.layers.BatchNormalization(axis=1, name="odd"), "layer 'odd' normalises over axis 1"),
        (lambda k: k.layers.Conv2D(2, 3, dtype="float64", name="odd"), "layer 'odd' computes in float64"),
        (
            lambda k: k.layers.MaxPooling2D(2, 1, padding="same", name="odd"),
            "layer 'odd' pools an even window at every",
        ),
        (lambda k: k.layers.Conv2DTranspose(2, 2, 3, name="odd"), "layer 'odd' is a transposed convolution with gaps"),
        (lambda k: k.layers.ReLU(threshold=1, name="odd"), "layer 'odd' is a ReLU with a threshold"),
    ],
)
def test_what_is_unknown_is_named(keras, build, words):
    start = keras.Input((6, 5, 2))
    found = translated(keras.Model(start, build(keras)(start)), (None, 2, 6, 5), last=True)
    assert isinstance(found, str)
    assert found.startswith(words)


def test_a_translation_that_answers_otherwise_is_not_taken(keras, monkeypatch):
    from voxplain.score import keras_layers

    monkeypatch.setitem(keras_layers.LAYERS, "Activation", lambda layer, place: torch.nn.Tanh())
    start = keras.Input((6, 5, 2))
    model = keras.Model(start, keras.layers.Activation("relu", name="wrong")(start))
    assert translated(model, (None, 2, 6, 5), last=True) == "layer 'wrong' answers otherwise than in Keras"


def test_a_difference_that_the_answer_hides_is_seen(keras, monkeypatch):
    from voxplain.score import keras_layers

    monkeypatch.setitem(keras_layers.LAYERS, "ReLU", lambda layer, place: torch.nn.LeakyReLU(0.5))
    start = keras.Input((6, 5, 2))
    x = keras.layers.Rescaling(0.0)(keras.layers.ReLU(name="wrong")(start))
    found = translated(keras.Model(start, x), (None, 2, 6, 5), last=True)
    assert found == "layer 'wrong' answers otherwise than in Keras"


# --- the Xception study's kind of model -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xception(keras, tmp_path_factory):
    """The study's low model at 96 pixels, as after training, and the folder where it lies as .keras and .h5."""
    keras.utils.set_random_seed(5)
    base = keras.applications.Xception(weights=None, include_top=False, input_shape=(96, 96, 3))
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    x = keras.layers.Dense(256, activation="relu")(x)
    model = keras.Model(base.input, keras.layers.Dense(3, activation="softmax", name="answer")(x))
    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            generator = torch.Generator().manual_seed(number)
            for weight, low, high in (
                (layer.moving_mean, -0.2, 0.2),
                (layer.moving_variance, 0.5, 1.5),
                (layer.beta, 0, 0.3),
            ):
                weight.assign(low + (high - low) * torch.rand(tuple(weight.shape), generator=generator))
    folder = tmp_path_factory.mktemp("xception")
    for name in ("net.keras", "net.h5"):
        model.save(folder / name)
    return model, folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_an_xception_loads_with_every_access_under_its_keras_names(xception, name):
    original, folder = xception
    model = load_model(str(folder / name))
    x = batch(2, 3, 96, 96)
    assert (model.access, model.channels, model.rank, model.reason) == (Access.RULES, 3, 2, "")
    assert torch.allclose(model(x), original(x.movedim(1, -1), training=False), atol=ROUNDING)
    wanted = [layer.name for layer in original.layers[1:]]
    assert [name for name in wanted if name not in model.layers] == []


@pytest.mark.slow
def test_grad_cam_of_an_xception_equals_the_same_by_hand_in_keras(xception, keras):
    original, folder = xception
    x, layer = batch(1, 3, 96, 96), "block14_sepconv2_act"
    found = method(f"grad_cam(layer='{layer}', relu=False)")(
        Score(load_model(str(folder / "net.keras")), "class_score(1)"), x
    )
    both = keras.Model(original.inputs, [original.get_layer(layer).output, original.get_layer("answer").output])
    activation, answer = both(x.movedim(1, -1), training=False)
    gradient = torch.autograd.grad(answer[0, 1], activation)[0]
    expected = (gradient.mean(dim=(1, 2), keepdim=True) * activation).sum(-1)
    assert expected.abs().max() > 0
    assert (found.values[:, 0] - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["lrp", "guided_backprop", "deep_lift", "full_grad", "integrated_gradients(steps=4)"])
def test_every_access_works_on_an_xception(xception, spec):
    _, folder = xception
    found = method(spec)(Score(load_model(str(folder / "net.h5")), "class_score(1)"), batch(1, 3, 96, 96))
    assert found.values.shape[-2:] == (96, 96)
    assert torch.isfinite(found.values).all()
    assert found.values.abs().max() > 0
