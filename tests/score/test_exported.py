import io
import json
import zipfile
from contextlib import suppress

import pytest
import torch
from torch import nn

from tests.score.payloads import Payload, batch, edited, member, pickled, small_network
from voxplain.errors import FileError, InputError, TrustError
from voxplain.score.exported import load_exported
from voxplain.score.load import load_model
from voxplain.types import Access

CONFIG = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
PROGRAM = "models/model.json"


def export(path, network, *inputs, **options):
    torch.export.save(torch.export.export(network.eval(), inputs, **options), path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A small 2D network exported with batch size 2."""
    return export(tmp_path_factory.mktemp("exported") / "net.pt2", small_network(), batch(2, 1, 8, 8))


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def changed(path, name, change):
    document = json.loads(member(path, name))
    change(document)
    return json.dumps(document).encode()


def first_weight(entry):
    """An edit of the table of weights: its first entry becomes `entry`'s."""

    def change(document):
        next(iter(document["config"].values())).update(entry)

    return change


def new_constant(path_name):
    def change(document):
        document["config"]["extra"] = {
            "path_name": path_name,
            "is_param": False,
            "use_pickle": True,
            "tensor_meta": None,
        }

    return change


def first_node(**entries):
    def change(document):
        document["graph_module"]["graph"]["nodes"][0].update(entries)

    return change


def size_that_evaluates(marker):
    def change(document):
        expression = {"expr_str": f"__import__('os').mkdir('{marker}') or 8", "hint": {"as_int": 8}}
        document["graph_module"]["graph"]["tensor_values"]["input"]["sizes"][2] = {"as_expr": expression}

    return change


def named(name):
    """An edit that renames the input everywhere."""

    def change(document):
        text = json.dumps(document).replace('"name": "input"}', f'"name": {json.dumps(name)}}}')
        document.clear()
        document.update(json.loads(text.replace('"input": {"dtype"', f'{json.dumps(name)}: {{"dtype"')))

    return change


def call_of_mkdir(marker):
    argument = {"name": "", "arg": {"as_string": str(marker)}, "kind": 1}
    return first_node(target="torch.os.mkdir", inputs=[argument])


def default_dict(document):
    signature = document["graph_module"]["module_call_graph"][0]["signature"]
    context = {"default_factory_module": "antigravity", "default_factory_name": "fly", "dict_context": []}
    tree = {"type": "collections.defaultdict", "context": context, "children_spec": []}
    signature["out_spec"] = json.dumps([1, tree])


def output_tree(kind, context):
    """An edit that describes the answer as another container."""

    def change(document):
        signature = document["graph_module"]["module_call_graph"][0]["signature"]
        signature["out_spec"] = json.dumps([1, {"type": kind, "context": context, "children_spec": []}])

    return change


EDITS = {
    "a pickled weight": lambda path, marker: {
        CONFIG: changed(path, CONFIG, first_weight({"use_pickle": True})),
        "data/weights/weight_0": saved(Payload(marker)),
    },
    "pickled sample inputs": lambda path, marker: {"data/sample_inputs/model.pt": saved(Payload(marker))},
    "weights of the older format": lambda path, marker: {"data/weights/model.pt": saved({"w": Payload(marker)})},
    "constants of the older format": lambda path, marker: {"data/constants/model.pt": saved({"w": Payload(marker)})},
    "an opaque object": lambda path, marker: {
        CONSTANTS: changed(path, CONSTANTS, new_constant("opaque_obj_0")),
        "data/constants/opaque_obj_0": pickled(marker),
    },
    "a size that evaluates": lambda path, marker: {PROGRAM: changed(path, PROGRAM, size_that_evaluates(marker))},
    "a name that is source code": lambda path, marker: {
        PROGRAM: changed(path, PROGRAM, named(f"x=__import__('os').mkdir('{marker}')"))
    },
}
"""What to change in an archive so that torch.export.load runs a payload."""


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_archive_is_refused_and_its_payload_does_not_run(plain, tmp_path, edit):
    marker = tmp_path / "ran"
    path = edited(plain, tmp_path / "evil.pt2", EDITS[edit](plain, marker))
    with pytest.raises(TrustError, match=r"could run code of its own when loaded \(.+\); add --trust "):
        load_exported(str(path))
    assert not marker.exists()


@pytest.mark.parametrize("edit", EDITS)
def test_torch_itself_would_run_that_payload(plain, tmp_path, edit):
    marker = tmp_path / "ran"
    path = edited(plain, tmp_path / "evil.pt2", EDITS[edit](plain, marker))
    with suppress(Exception):  # it may break in some way, after the payload ran
        torch.export.unflatten(torch.export.load(path))
    assert marker.exists()


def test_a_graph_that_calls_the_system_is_refused(plain, tmp_path):
    marker = tmp_path / "ran"
    path = edited(plain, tmp_path / "evil.pt2", {PROGRAM: changed(plain, PROGRAM, call_of_mkdir(marker))})
    with pytest.raises(TrustError, match=r"it holds target 'torch\.os\.mkdir'"):
        load_exported(str(path))
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        first_node(target="torch.ops.aten.from_file.default"),
        first_node(target="torch.ops.aten.save.default"),
        first_node(target="torch.ops.mylib.op.default"),
        first_node(target="torch.ops.higher_order.call_torchbind"),
        first_node(target="torch.ops.aten.add.__class__"),
        first_node(target="_operator.methodcaller"),
        first_node(target="_operator.attrgetter"),
        first_node(target="torch.serialization.load"),
        first_node(target="#extension:op"),
        first_node(inputs=[{"name": "", "arg": {"as_operator": "torch.os.system"}, "kind": 1}]),
        first_node(metadata={"stack_trace": 'File "a.py", line 1, in f\n    x\rimport os'}),
        first_node(metadata={"nn_module_stack": 'L__self__,a");import os#,torch.nn.Module'}),
        named("x): import os #"),
        named("x\n"),
        default_dict,
        output_tree("collections.defaultdict", "null"),
        output_tree("mypackage.Answer", "null"),
        output_tree("builtins.dict", json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "y"}])),
    ],
)
def test_a_program_beyond_plain_operators_and_names_is_refused(plain, tmp_path, change):
    path = edited(plain, tmp_path / "evil.pt2", {PROGRAM: changed(plain, PROGRAM, change)})
    with pytest.raises(TrustError):
        load_exported(str(path))


@pytest.mark.parametrize("name", ["data/aotinductor/model/net.so", "data/constants/custom_obj_0", "data/extra.py"])
def test_a_member_that_is_no_plain_number_is_refused(plain, tmp_path, name):
    path = edited(plain, tmp_path / "evil.pt2", {name: b"\x7fELF"})
    with pytest.raises(TrustError, match=f"the member '{name}' is not plain numbers"):
        load_exported(str(path))


def test_two_members_of_one_name_are_refused(plain, tmp_path):
    path = edited(plain, tmp_path / "evil.pt2", {PROGRAM.upper().replace("MODELS/", "models/"): b"{}"})
    with pytest.raises(TrustError, match=r"two members of one name"):
        load_exported(str(path))


def test_an_archive_of_torch_2_7_needs_trust(tmp_path):
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", saved(Payload(tmp_path / "ran")))
    with pytest.raises(TrustError, match=r"of torch 2.7 or earlier, is unpickled"):
        load_exported(str(tmp_path / "old.pt2"))
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_asks_for_pickle_loads_when_trusted_by_name(plain, tmp_path):
    network = small_network()
    first = {
        CONFIG: changed(plain, CONFIG, first_weight({"use_pickle": True})),
        "data/weights/weight_0": saved(network.conv.weight),
    }
    path = str(edited(plain, tmp_path / "honest.pt2", first))
    with pytest.raises(TrustError):
        load_model(path)
    x = batch(2, 1, 8, 8)
    assert torch.equal(load_model(path, trust=[path])(x), network(x))


def test_an_exported_program_answers_exactly_as_the_original(plain):
    x = batch(2, 1, 8, 8, seed=3)
    assert torch.equal(load_model(str(plain))(x), small_network()(x))


def test_channels_rank_and_the_only_batch_size_are_known(plain):
    model = load_model(str(plain))
    assert (model.channels, model.rank, model.fixed_batch) == (1, 2, 2)
    assert model.notices == ("the exported program takes images of 8 x 8 only",)
    assert model.label == "net"


def test_a_free_batch_size_is_not_fixed(tmp_path):
    shapes = ({0: torch.export.Dim("count"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    path = export(tmp_path / "net.pt2", small_network(2), batch(2, 2, 8, 8), dynamic_shapes=shapes)
    model = load_model(str(path))
    x = batch(5, 2, 10, 12)
    assert (model.fixed_batch, model.channels, model.notices) == (None, 2, ())
    assert torch.allclose(model(x), small_network(2)(x), atol=1e-6)


def test_a_volume_program_knows_its_rank(tmp_path):
    path = export(tmp_path / "net.pt2", small_network(rank=3), batch(1, 1, 6, 6, 6))
    model = load_model(str(path))
    x = batch(1, 1, 6, 6, 6, seed=4)
    assert (model.channels, model.rank, model.fixed_batch) == (1, 3, 1)
    assert torch.equal(model(x), small_network(rank=3)(x))


def test_hooks_on_inner_layers_fire_and_gradients_flow(plain):
    model, x = load_model(str(plain)), batch(2, 1, 8, 8).requires_grad_()
    seen = []
    model.layer("conv").register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    model(x)[:, 0].sum().backward()
    reference = batch(2, 1, 8, 8).requires_grad_()
    small_network()(reference)[:, 0].sum().backward()
    assert model.access is Access.RULES
    assert seen == [(2, 4, 8, 8)]
    assert torch.allclose(x.grad, reference.grad, atol=1e-7)


def test_another_size_is_refused_in_words(plain):
    with pytest.raises(InputError, match=r"^the exported program takes 2 x 1 x 8 x 8 \(batch, .*, got 2 x 1 x 9 x 8$"):
        load_model(str(plain)).run(batch(2, 1, 9, 8))


class Several(nn.Module):
    """Two inputs, a dictionary out."""

    def forward(self, x, age):
        return {"logits": x.mean((2, 3)) + age}


def test_a_program_of_several_inputs_is_refused_in_words(tmp_path):
    path = export(tmp_path / "net.pt2", Several(), batch(1, 1, 4, 4), batch(1, 1))
    with pytest.raises(InputError, match=r"must take one tensor \(batch, channel, \*space\), got 2 inputs \(x, age\)$"):
        load_exported(str(path))


def test_an_input_by_name_is_refused_in_words(tmp_path):
    program = torch.export.export(small_network(), (), {"input": batch(1, 1, 8, 8)})
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(InputError, match=r"as its first argument, got it by name"):
        load_exported(str(tmp_path / "net.pt2"))


def test_an_input_that_is_no_image_is_refused_in_words(tmp_path):
    path = export(tmp_path / "net.pt2", nn.Linear(3, 2), batch(1, 3))
    with pytest.raises(InputError, match=r"must take one tensor .*, got torch.float32 \(1, 3\)$"):
        load_exported(str(path))


def test_outputs_in_a_dictionary_are_picked_by_name(tmp_path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small_network()

        def forward(self, x):
            return {"logits": self.inner(x), "twice": [2 * self.inner(x)]}

    path, x = export(tmp_path / "net.pt2", Named(), batch(1, 1, 8, 8)), batch(1, 1, 8, 8)
    assert torch.equal(load_model(str(path), output="twice.0")(x), 2 * small_network()(x))


def test_a_program_exported_in_training_mode_says_so(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.5)).train()
    torch.export.save(torch.export.export(network, (batch(1, 1, 4, 4),)), tmp_path / "net.pt2")
    assert any("training mode" in notice for notice in load_model(str(tmp_path / "net.pt2")).notices)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_archive_gives_one_sentence(plain, tmp_path, keep):
    content = plain.read_bytes()
    (tmp_path / "net.pt2").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FileError, match=r"must be an exported program \(.pt2\), but it is damaged") as caught:
        load_exported(str(tmp_path / "net.pt2"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [PROGRAM, CONFIG])
def test_an_archive_with_a_damaged_table_gives_one_sentence(plain, tmp_path, name):
    path = edited(plain, tmp_path / "net.pt2", {name: b'{"graph_module": 3'})
    with pytest.raises(FileError) as caught:
        load_exported(str(path))
    assert "\n" not in str(caught.value)


def test_a_program_that_torch_cannot_read_gives_one_sentence_and_no_traceback(plain, tmp_path, capfd):
    path = edited(plain, tmp_path / "net.pt2", {PROGRAM: b"{}"})
    with pytest.raises(FileError, match=r"cannot be loaded by torch .*; export it again with this version"):
        load_exported(str(path))
    assert "Traceback" not in capfd.readouterr().err


def test_empty_missing_and_foreign_files_give_one_sentence(tmp_path):
    (tmp_path / "empty.pt2").touch()
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(FileError, match=r"is empty$"):
        load_exported(str(tmp_path / "empty.pt2"))
    with pytest.raises(FileError, match=r"does not exist$"):
        load_exported(str(tmp_path / "none.pt2"))
    with pytest.raises(FileError, match=r"damaged or something else$"):
        load_exported(str(tmp_path / "text.pt2"))


def test_loading_leaves_the_folder_as_it_was(plain):
    before = sorted(plain.parent.iterdir())
    load_exported(str(plain))
    assert sorted(plain.parent.iterdir()) == before
