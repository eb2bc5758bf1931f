"""Flags of the preparation are the fields of `Prepare`, no more and no fewer."""

import argparse
from dataclasses import fields

import pytest

from voxplain.cli import preparing
from voxplain.data.prepare import Prepare
from voxplain.errors import VoxplainError


def chosen(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    preparing.add(parser.add_argument_group("preparation"))
    return parser.parse_args(arguments)


def test_every_field_has_a_flag_and_every_flag_a_field():
    assert {flag.replace("-", "_") for flag in preparing.FLAGS} == {field.name for field in fields(Prepare)}


@pytest.mark.parametrize(("arguments", "expected"), [
    (("--size", "8,9"), Prepare(size=(8, 9))),
    (("--spacing-mm", "1,1.5,2"), Prepare(spacing_mm=(1, 1.5, 2))),
    (("--orientation", "RAS"), Prepare(orientation="RAS")),
    (("--channels", "flair, t1"), Prepare(channels=("flair", "t1"))),
    (("--scale", "2", "--pad-multiple", "16", "--pad-value", "-1"), Prepare(scale=2, pad_multiple=16, pad_value=-1)),
    (("--window=-160,240",), Prepare(window=(-160, 240))),
    (("--zscore", "--nonzero"), Prepare(zscore=True, nonzero=True)),
    (("--grey-to-rgb", "--mean", "0.5", "--std", "1,2,3"), Prepare(grey_to_rgb=True, mean=(0.5,), std=(1, 2, 3))),
    ((), Prepare()),
])  # fmt: skip
def test_flags_are_read(arguments, expected):
    assert preparing.read(chosen(*arguments)) == expected


def test_flags_win_over_the_file(tmp_path):
    path = Prepare(size=(4, 4), zscore=True).write(tmp_path / "prepare.toml")
    assert preparing.read(chosen("--prepare", str(path), "--size", "8,8")) == Prepare(size=(8, 8), zscore=True)


@pytest.mark.parametrize("typed", ["wide", "[16,16,16]", "(16,(16,16))", "'16',16", "True,2", "1,,2", ""])
def test_numbers_that_are_none_say_how_to_type_them(typed):
    with pytest.raises(VoxplainError) as caught:
        preparing.read(chosen("--size", typed))
    assert str(caught.value) == (
        f"--size must be numbers joined by commas, without brackets, got {typed!r}; type for example --size 96,96,64"
    )


@pytest.mark.parametrize("typed", ["much", "1,2", "(1,)", "[1]"])
def test_one_number_is_one_number(typed):
    with pytest.raises(VoxplainError) as caught:
        preparing.read(chosen("--scale", typed))
    assert str(caught.value) == f"--scale must be a number, got {typed!r}; type for example --scale 0.001"


def test_every_flag_of_numbers_has_an_example_that_can_be_typed():
    words = {"prepare", "orientation", "channels"}
    numbers = {flag.replace("-", "_") for flag, (metavar, _) in preparing.FLAGS.items() if metavar} - words
    assert set(preparing.EXAMPLES) == numbers
    for name, example in preparing.EXAMPLES.items():
        assert getattr(preparing.read(chosen(f"--{name.replace('_', '-')}={example}")), name) is not None
