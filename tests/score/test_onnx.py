import copy

import numpy as np
import pytest
import torch

from tests.score.payloads import batch, small_network
from voxplain.errors import FileError, InputError
from voxplain.score.load import load_model
from voxplain.score.onnx import load_onnx
from voxplain.types import Access

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
FLOAT = onnx.TensorProto.FLOAT


def write(path, network, inputs, outputs):
    """A file with the small network's operations, the sizes of its inputs and outputs as given."""
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items() if tensor.ndim}
    convolution = ["x", "conv.weight", "conv.bias"]
    norm = ["a", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
    nodes = [
        onnx.helper.make_node("Conv", convolution, ["a"], pads=[1] * 2 * (network.conv.weight.ndim - 2)),
        onnx.helper.make_node("BatchNormalization", norm, ["b"], epsilon=1e-5),
        onnx.helper.make_node("Relu", ["b"], ["c"]),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        onnx.helper.make_node("Flatten", ["d"], ["e"]),
        onnx.helper.make_node("Gemm", ["e", "fc.weight", "fc.bias"], ["logits"], transB=1),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.helper.make_tensor_value_info(name, kind, sizes) for name, (kind, sizes) in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return str(path)


def small(path, *sizes, outputs=("logits",), network=None):
    return write(path, network or small_network(), {"x": (FLOAT, sizes)}, outputs)


def test_an_onnx_file_answers_as_the_original(tmp_path):
    x = batch(3, 1, 8, 8)
    model = load_model(small(tmp_path / "net.onnx", "batch", 1, "rows", "columns"))
    assert torch.allclose(model(x), small_network()(x), atol=1e-6)


def test_a_volume_file_answers_as_the_original(tmp_path):
    x, network = batch(1, 2, 6, 7, 8), small_network(2, rank=3)
    model = load_model(small(tmp_path / "net.onnx", 1, 2, 6, 7, 8, network=network))
    assert torch.allclose(model(x), network(x), atol=1e-6)
    assert (model.channels, model.rank, model.fixed_batch) == (2, 3, 1)


def test_only_calls_are_offered_and_it_says_why(tmp_path):
    model = load_model(small(tmp_path / "net.onnx", 1, 1, 8, 8))
    assert model.access is Access.CALLS
    with pytest.raises(InputError, match=r"offers calls only: it is an ONNX file, which has outputs but no gradients"):
        model.require(Access.GRADIENT, "gradient")


def test_a_free_batch_size_is_not_fixed(tmp_path):
    model = load_model(small(tmp_path / "net.onnx", "batch", 1, 8, 8))
    assert (model.fixed_batch, model.channels, model.rank) == (None, 1, 2)


def test_several_outputs_are_picked_by_name(tmp_path):
    path, x = small(tmp_path / "net.onnx", 1, 1, 8, 8, outputs=("logits", "e")), batch(1, 1, 8, 8)
    assert torch.allclose(load_model(path, output="logits")(x), small_network()(x), atol=1e-6)
    with pytest.raises(InputError, match=r"returns 2 outputs; choose one of 'logits' \(1, 3\), 'e' \(1, 4\)"):
        load_model(path)(x)


def test_several_inputs_are_refused_in_words(tmp_path):
    inputs = {"x": (FLOAT, (1, 1, 8, 8)), "age": (FLOAT, (1, 1))}
    path = write(tmp_path / "net.onnx", small_network(), inputs, ["logits"])
    with pytest.raises(InputError, match=r"must take one float tensor .*, got 2 inputs \(x, age\)$"):
        load_onnx(path)


def test_an_input_that_is_no_image_is_refused_in_words(tmp_path):
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, FLOAT, [1, 3]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "flat", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"got tensor\(float\) of shape \[1, 3\]$"):
        load_onnx(str(tmp_path / "net.onnx"))


def test_a_wrong_channel_count_is_told_in_words(tmp_path):
    model = load_model(small(tmp_path / "net.onnx", "batch", 1, 8, 8))
    with pytest.raises(InputError, match=r"^the ONNX model failed on an input of \(1, 3, 8, 8\): ") as caught:
        model.run(batch(1, 3, 8, 8))
    assert "\n" not in str(caught.value)


def test_two_files_of_other_weights_have_other_hashes(tmp_path):
    one, two = (
        load_model(small(tmp_path / f"{seed}.onnx", 1, 1, 8, 8, network=small_network(seed=seed))) for seed in (0, 1)
    )
    assert one.weights_hash != two.weights_hash


def test_a_copy_answers_alike(tmp_path):
    module = load_onnx(small(tmp_path / "net.onnx", 1, 1, 8, 8)).module
    assert torch.equal(copy.deepcopy(module)(batch(1, 1, 8, 8)), module(batch(1, 1, 8, 8)))


def test_empty_truncated_missing_and_foreign_files_give_one_sentence(tmp_path):
    content = (tmp_path / "net.onnx", small(tmp_path / "net.onnx", 1, 1, 8, 8))[0].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("hello")
    for name, words in {"cut": "not a readable ONNX file", "empty": "is empty", "text": "not a readable"}.items():
        with pytest.raises(FileError, match=words) as caught:
            load_onnx(str(tmp_path / f"{name}.onnx"))
        assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=r"does not exist$"):
        load_onnx(str(tmp_path / "none.onnx"))


def test_weights_beside_a_complete_file_are_refused(tmp_path):
    path = small(tmp_path / "net.onnx", 1, 1, 8, 8)
    with pytest.raises(InputError, match=r"brings its own weights; leave --weights out$"):
        load_model(path, weights=tmp_path / "w.pt")
