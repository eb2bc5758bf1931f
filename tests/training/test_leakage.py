"""Leakage: planted copies are found, neighbours on one side are not, and real splits are clean."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.ndimage import gaussian_filter

from voxplain.errors import InputError
from voxplain.training.leakage import check_leakage

DATA = Path(__file__).parents[3] / "shared" / "data"


def scans(count: int = 8, shape: tuple[int, ...] = (96, 80), seed: int = 0) -> np.ndarray:
    """Smooth random images, each unlike the others."""
    random = np.random.default_rng(seed)
    return np.stack([gaussian_filter(random.normal(size=shape), 3) for _ in range(count)]).astype(np.float32)


def check(pictures, parts, groups=None, names=None) -> list[str]:
    return check_leakage(lambda n: pictures[n], groups or [None] * len(parts), parts, names)


HALVES = ["train"] * 4 + ["test"] * 4


def test_different_images_pass():
    assert check(scans(), HALVES) == []


def test_a_patient_on_both_sides_is_an_error():
    groups = ["a", "b", "c", "d", "d", "e", "f", "g"]
    with pytest.raises(InputError, match=r"a patient must be in one part only, got 1 in several: d \(train, test\)$"):
        check(scans(), HALVES, groups)


def test_unknown_patients_are_not_one_patient():
    assert check(scans(), HALVES, [None] * 8) == []


def test_a_copy_under_another_patients_name_is_found():
    pictures = scans()
    pictures[6] = pictures[1]
    with pytest.raises(InputError, match=r"above 0\.995, got 1 pairs: case 6 \(test\) and case 1 \(train\) 1\.0000$"):
        check(pictures, HALVES, [f"p{n}" for n in range(8)])


def test_names_are_used_where_given():
    pictures = scans()
    pictures[6] = pictures[1]
    with pytest.raises(InputError, match=r"scan-6 \(test\) and scan-1 \(train\)"):
        check(pictures, HALVES, names=[f"scan-{n}" for n in range(8)])


def test_a_copy_on_the_same_side_is_no_leak():
    pictures = scans()
    pictures[3] = pictures[1]
    assert check(pictures, HALVES) == []


def test_a_brightened_copy_is_found():
    pictures = scans()
    pictures[6] = 1.7 * pictures[1] + 3
    with pytest.raises(InputError, match="got 1 pairs"):
        check(pictures, HALVES)


def test_a_copy_of_another_size_is_found():
    pictures = list(scans(shape=(128, 128)))
    pictures[6] = pictures[1].repeat(2, axis=0).repeat(2, axis=1)
    with pytest.raises(InputError, match="got 1 pairs"):
        check(pictures, HALVES)


def test_a_picture_on_a_grid_of_depth_one_is_a_picture():
    pictures = list(scans())
    pictures[6] = pictures[1][None, :, :, None]
    with pytest.raises(InputError, match="got 1 pairs"):
        check(pictures, HALVES)


def test_a_copy_as_colour_picture_is_found():
    pictures = list(scans())
    pictures[6] = np.stack([pictures[1]] * 3)
    with pytest.raises(InputError, match="got 1 pairs"):
        check(pictures, HALVES)


@pytest.mark.parametrize(
    "mirror",
    [lambda p: p[::-1], lambda p: p[:, ::-1], lambda p: p[::-1, ::-1]],
    ids=["upside down", "left to right", "both"],
)
def test_a_mirrored_copy_is_warned_of(mirror):
    pictures = scans()
    pictures[6] = mirror(pictures[1])
    (told,) = check(pictures, HALVES)
    assert told.startswith("1 pairs of pictures of different parts look alike: case 6 (test) and case 1 (train) 0 bits")


def test_a_copy_with_noise_is_warned_of():
    pictures = scans()
    pictures[6] = pictures[1] + np.random.default_rng(1).normal(size=pictures[1].shape) * pictures[1].std()
    (told,) = check(pictures, HALVES)
    assert "case 6 (test) and case 1 (train)" in told


def test_a_mirrored_volume_is_warned_of_and_a_copied_one_is_an_error():
    volumes = scans(shape=(40, 44, 36))[:, None]
    volumes[6] = volumes[1][:, :, ::-1]
    assert "case 6 (test) and case 1 (train)" in check(volumes, HALVES)[0]
    volumes[6] = volumes[1]
    with pytest.raises(InputError, match="got 1 pairs"):
        check(volumes, HALVES)


def test_blank_pictures_have_no_correlation_but_are_told_of():
    pictures = scans()
    pictures[1] = pictures[6] = 0
    pictures[7] = 0.1
    assert check(pictures, HALVES) == ["3 pictures have one value everywhere: case 1, case 6, case 7"]


def test_the_rounding_of_a_bright_blank_picture_is_no_content():
    pictures = scans()
    pictures[1] = pictures[6] = np.float32(1000.1)
    assert len(check(pictures, HALVES)) == 1


def test_dim_pictures_are_compared_like_bright_ones():
    pictures = scans() * np.float32(1e-6)
    pictures[6] = pictures[1]
    with pytest.raises(InputError, match="got 1 pairs"):
        check(pictures, HALVES)


@pytest.mark.parametrize("block", [1024, 2])
def test_many_pairs_are_counted_and_ten_of_them_shown(monkeypatch, block):
    monkeypatch.setattr("voxplain.training.leakage.ROWS", block)
    pictures = np.repeat(scans(1), 8, axis=0)
    with pytest.raises(InputError, match="got 16 pairs") as raised:
        check(pictures, HALVES)
    assert str(raised.value).count("1.0000") == 10
    assert str(raised.value).endswith("and 6 more")


def test_patients_and_pictures_are_told_together():
    pictures = scans()
    pictures[6] = pictures[1]
    with pytest.raises(InputError, match=r"a patient must be in one part only.*; pictures of different parts must not"):
        check(pictures, HALVES, ["a", "b", "c", "d", "d", "e", "f", "g"])


def test_every_pair_of_sides_is_compared():
    pictures = scans()
    pictures[7] = pictures[5]
    parts = ["fold 0", "fold 0", "fold 1", "fold 1", "fold 2", "fold 2", "test", "test"]
    with pytest.raises(InputError, match=r"case 5 \(fold 2\) and case 7 \(test\)"):
        check(pictures, parts)


def test_pairs_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr("voxplain.training.leakage.ROWS", 3)
    pictures = scans(20)
    parts = [["train", "val", "test"][n % 3] for n in range(20)]
    pictures[19], pictures[17], pictures[10] = pictures[2], pictures[1], pictures[9]
    with pytest.raises(InputError, match="got 3 pairs"):
        check(pictures, parts)


def test_many_pictures_lie_in_a_temporary_file(monkeypatch):
    monkeypatch.setattr("voxplain.training.leakage.IN_MEMORY", 1000)
    pictures = scans()
    pictures[6] = pictures[1]
    with pytest.raises(InputError, match="got 1 pairs"):
        check(pictures, HALVES)


def test_each_picture_is_asked_for_once():
    pictures, asked = scans(), []
    check_leakage(lambda n: (asked.append(n), pictures[n])[1], [None] * 8, HALVES)
    assert sorted(asked) == list(range(8))


def test_one_side_alone_asks_for_no_picture():
    assert check_leakage(lambda n: pytest.fail("no picture is needed"), ["a", "a"], ["train", "train"]) == []


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.full((8, 8), np.nan), "must be finite"),
        (np.zeros(8), r"\(rows, columns\) or \(channel, \*space\), got \(8,\)"),
        (np.zeros((0, 8)), "got"),
        (np.ones((1, 8, 8, 8)), "same number of axes, got 2 and 3"),
    ],
)
def test_pictures_that_cannot_be_compared_are_refused(picture, told):
    pictures = [*scans(7), picture]
    with pytest.raises(InputError, match=told):
        check(pictures, HALVES)


def test_groups_and_parts_must_be_as_many():
    with pytest.raises(InputError, match="as many as cases, got 3 and 2"):
        check_leakage(lambda n: np.eye(8), ["a", "b", "c"], ["train", "test"])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real data lie beside the repository")
@pytest.mark.parametrize("folder", ["brain-tumor-2d", "cxr-views"])
def test_the_real_splits_are_clean(folder):
    rows = list(csv.DictReader((DATA / folder / "labels.csv").read_text().splitlines()))
    pixels = [np.asarray(Pillow.open(DATA / folder / row["file"]).convert("L"), dtype=np.float32) for row in rows]
    told = check(pixels, [row["split"] for row in rows], [row["patient_id"] for row in rows])
    assert [line.partition(" ")[0] for line in told] == ["2"]
    moved = [row["split"] for row in rows]
    moved[0] = "train" if moved[0] != "train" else "test"
    pixels.append(pixels[0])
    with pytest.raises(InputError, match="got 1 pairs"):
        check(pixels, [*(row["split"] for row in rows), moved[0]], [*(row["patient_id"] for row in rows), "copy"])
