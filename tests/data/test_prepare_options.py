"""Options of a preparation: what is refused, in the same words at every door, and the TOML file."""

from dataclasses import fields

import numpy as np
import pytest

from tests.space.grids import turned
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, InputError, OptionError
from voxplain.space.grid import Grid
from voxplain.spec import build

PIXELS = Grid((5, 4, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
FULL = Prepare(
    orientation="LPS", spacing_mm=(1, 1.5, 2.0), size=(8, 8, 8), crop_pad=(6, 6, 6), pad_multiple=4, pad_value=-1.5,
    channels=("T1", "odd 'name' \"x\"\\"), window=(-100, 300.5), zscore=True, nonzero=True, scale=1e-5,
    mean=(0.1, 0.2), std=(1.0, 2.0), masked=True,
)  # fmt: skip


def blank(grid, count=1):
    return Image.of(np.zeros((count, *grid.shape)), grid, identifier="scan")


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_volume_for_a_2d_model_names_the_way_out():
    with pytest.raises(InputError, match="the model reads 2D images but 'scan' is 3D; pass --slice"):
        Prepare()(blank(turned((9, 8, 7))), 2)


def test_a_picture_for_a_3d_model_says_what_the_model_wants():
    with pytest.raises(InputError, match="the model reads 3D volumes but 'scan' is a single 2D image"):
        Prepare()(blank(PIXELS), 3)


def test_millimetres_of_a_picture_without_any_are_refused():
    with pytest.raises(InputError, match=r"spacing_mm needs a grid in mm, but 'scan' has none; pass size=\.\.\."):
        Prepare(spacing_mm=(1, 1))(blank(PIXELS), 2)


def test_a_size_of_the_wrong_rank_is_refused():
    with pytest.raises(OptionError, match=r"size must have 2 values \(rows, columns\) for a 2D model, got \(4, 4, 4\)"):
        Prepare(size=(4, 4, 4))(blank(PIXELS), 2)


def test_three_channels_are_not_grey():
    with pytest.raises(InputError, match="grey_to_rgb must start from one channel, got 3"):
        Prepare(grey_to_rgb=True)(blank(PIXELS, 3), 2)


def test_a_mean_for_other_channels_is_refused():
    with pytest.raises(OptionError, match="mean must have 1 or 2 values, one a channel, got"):
        Prepare(mean=(1, 2, 3))(blank(PIXELS, 2), 2)


WRONG = {
    "orientation must be three letters such as 'RAS', got 'RAX'": {"orientation": "RAX"},
    "spacing_mm must be 2 or 3 numbers above 0": {"spacing_mm": [1, 0, 1]},
    "size must be 2 or 3 numbers above 0": {"size": [8]},
    "size must be a list, each a whole number or nothing, got": {"size": 8},
    "pad_multiple must be at least 1, got 0": {"pad_multiple": 0},
    "window must be low, then high": {"window": [5, 5]},
    "percentile must be low, then high between 0 and 100": {"percentile": [1, 101]},
    "window must be left out with percentile": {"window": [0, 1], "percentile": [1, 99]},
    "scale must be other than 0": {"scale": 0},
    "std must be one or more numbers above 0": {"std": [1, 0, 1]},
    "channels must be one or more different names": {"channels": ["T1", "T1"]},
    "nonzero must go with zscore or percentile": {"nonzero": True},
    "unknown option 'spacing'; did you mean 'spacing_mm'": {"spacing": [1, 1, 1]},
}


def quoted(table):
    """Keys and values with texts in quotes, as TOML wants them."""
    return [(key, repr(value) if isinstance(value, str) else value) for key, value in table.items()]


@pytest.mark.parametrize("sentence", WRONG)
def test_the_same_wrong_option_gets_the_same_sentence_at_every_door(sentence, tmp_path):
    table = WRONG[sentence]
    toml = tmp_path / "prepare.toml"
    toml.write_text("".join(f"{key} = {str(value).replace('True', 'true')}\n" for key, value in quoted(table)))
    spec = f"prepare({', '.join(f'{key}={value!r}' for key, value in table.items())})"
    doors = [lambda: Prepare(**table), lambda: Prepare.read(toml), lambda: build(spec, {"prepare": Prepare}, "prepare")]
    told = []
    for door in doors:
        with pytest.raises(OptionError) as caught:
            door()
        told.append(str(caught.value))
    assert sentence in told[0]
    assert len(set(told)) == 1


# --- the file ---------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_back(tmp_path):
    assert Prepare.read(FULL.write(tmp_path / "deep" / "prepare.toml")) == FULL
    assert Prepare.read(Prepare().write(tmp_path / "prepare.toml")) == Prepare()


def test_the_example_sets_every_option_that_can_go_together():
    left = {spec.name for spec in fields(Prepare) if getattr(FULL, spec.name) == getattr(Prepare(), spec.name)}
    assert left == {"percentile", "grey_to_rgb"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"cannot read 'prepare\.toml': No such file"):
        Prepare.read(tmp_path / "prepare.toml")


@pytest.mark.parametrize("content", [b"size = [", b"\xff\xfe\x00", b"\x00"])
def test_a_file_that_is_no_toml_is_refused(tmp_path, content):
    path = tmp_path / "prepare.toml"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"'prepare\.toml' must be a TOML file"):
        Prepare.read(path)


def test_a_table_of_something_else_is_refused():
    with pytest.raises(OptionError, match="unknown preparation 'occlusion'"):
        Prepare.of({"name": "occlusion"})
