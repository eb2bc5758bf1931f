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


def test_a_flag_that_is_no_number_is_named():
    with pytest.raises(VoxplainError, match="--window must be numbers joined by commas, got 'wide'"):
        preparing.read(chosen("--window", "wide"))
