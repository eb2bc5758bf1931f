"""Errors speak one sentence, can be caught as what they are, and know the nearest name."""

import inspect

import pytest

from voxplain import errors
from voxplain.errors import (
    FileError,
    InputError,
    KindError,
    MemoryShort,
    MissingExtra,
    OptionError,
    TrustError,
    VoxplainError,
    missing_extra,
    shortened,
    suggestion,
    unknown,
)

OURS = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, VoxplainError)]


@pytest.mark.parametrize(
    ("cls", "plain"),
    [
        (InputError, ValueError),
        (OptionError, ValueError),
        (KindError, TypeError),
        (FileError, OSError),
        (TrustError, PermissionError),
        (MissingExtra, ImportError),
        (MemoryShort, MemoryError),
    ],
)
def test_each_is_caught_by_our_root_and_by_pythons_own_word(cls, plain):
    for caught in (VoxplainError, plain):
        with pytest.raises(caught, match=r"^the sentence$"):
            raise cls("the sentence")


def test_every_error_is_in_the_list_above_and_explained():
    assert len(OURS) == 8
    assert all(cls.__doc__ for cls in OURS)


def test_our_root_is_no_error_that_a_model_would_raise():
    """A network's RuntimeError must not be mistaken for one of ours, nor ours for a network's."""
    assert not any(issubclass(cls, RuntimeError) for cls in OURS)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gradcam", "unknown method 'gradcam'; did you mean 'grad_cam'?"),
        ("xyz", "unknown method 'xyz'; choose from grad_cam, occlusion"),
    ],
)
def test_an_unknown_name_gets_the_nearest_or_the_whole_list(name, told):
    error = unknown("method", name, ["occlusion", "grad_cam"])
    assert isinstance(error, OptionError)
    assert str(error) == told


def test_a_mapping_serves_as_the_list_of_names():
    assert suggestion("occlusoin", {"occlusion": 1}) == "; did you mean 'occlusion'?"


def test_nothing_is_suggested_where_nothing_is_known():
    assert suggestion("x", []) == ""


def test_long_lists_are_cut_with_a_count():
    assert shortened(map(str, range(12)), 3) == "0, 1, 2 and 9 more"
    assert shortened("abc", 3) == "a, b, c"


def test_a_missing_extra_names_package_purpose_and_command():
    error = missing_extra("onnxruntime", "onnx", "reading an ONNX model")
    assert str(error) == (
        "reading an ONNX model needs the package 'onnxruntime'; install it with: pip install 'voxplain[onnx]'"
    )
