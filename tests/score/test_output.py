"""Which tensor of an output is meant: bare, tuples, lists, dicts, dataclasses, named tuples, and nests of them."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from voxplain.errors import InputError
from voxplain.score.output import pick, tensors

A, B, C = torch.zeros(1, 3), torch.zeros(1, 5), torch.zeros(1, 2, 4, 4)

Named = namedtuple("Named", ["logits", "features"])


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: object = None


@pytest.mark.parametrize(
    ("output", "path", "meant"),
    [
        (A, None, A),
        ((A,), None, A),
        ([A], None, A),
        ({"out": A}, None, A),
        ((A, None, "text", 3), None, A),
        ({"out": A, "loss": None}, None, A),
        ((A, B), "0", A),
        ((A, B), "1", B),
        ([A, B], "1", B),
        ({"out": A, "aux": B}, "aux", B),
        (OrderedDict(out=A, aux=B), "out", A),
        ({"out": [A, {"deep": B}]}, "out.1.deep", B),
        ((A, [B, C]), "1.1", C),
        (Named(A, B), "logits", A),
        (Named(A, B), "features", B),
        (Answer(A, (B,)), "logits", A),
        (Answer(A, (B,)), "hidden.0", B),
        ({0: A, 1: B}, "1", B),
        ({"a.b": A, "c": B}, "a.b", A),
    ],
)
def test_the_meant_tensor_is_found(output, path, meant):
    assert pick(output, path) is meant


def test_several_outputs_without_a_choice_are_named_with_their_shapes():
    with pytest.raises(InputError) as caught:
        pick({"out": C, "aux": [A, B]}, None)
    assert str(caught.value) == (
        "the model returns 3 outputs; choose one of 'out' (1, 2, 4, 4), 'aux.0' (1, 3), 'aux.1' (1, 5) "
        "with --output (output= in Python)"
    )


def test_a_wrong_choice_is_told_with_the_right_ones():
    with pytest.raises(InputError, match=r"^the model has no output '2'; choose one of '0' \(1, 3\), '1' \(1, 5\)$"):
        pick((A, B), "2")


def test_a_choice_where_there_is_none_to_make_is_told():
    with pytest.raises(InputError, match=r"no output 'logits'; it returns one tensor, so leave the output out"):
        pick(A, "logits")


@pytest.mark.parametrize(("output", "kind"), [(None, "NoneType"), ("text", "str"), ({}, "dict"), ([1, 2], "list")])
def test_an_output_without_a_tensor_is_told_by_its_kind(output, kind):
    with pytest.raises(InputError, match=rf"^the model must return a tensor, got {kind}$"):
        pick(output, None)


def test_many_outputs_are_cut_with_a_count():
    with pytest.raises(InputError, match=r"the model returns 20 outputs; .* and 12 more"):
        pick([A] * 20, None)


def test_paths_come_in_the_order_of_the_output():
    assert [path for path, _ in tensors({"b": (A, B), "a": C})] == ["b.0", "b.1", "a"]


def test_a_class_is_not_an_answer():
    assert list(tensors((Answer, A))) == [("1", A)]
