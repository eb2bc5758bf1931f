"""The functions of the example with the brain tumour slices, on made-up tables."""

import csv
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from voxplain.data.case import read_cases
from voxplain.errors import InputError

CLASSES = ("glioma", "meningioma", "pituitary")


def made_up(example: ModuleType, patients: int = 10, each: int = 4) -> list:
    """`each` slices of so many patients in every class."""
    return [
        example.Slice(f"{label}_{p}_{n}", Path("i.png"), Path("m.png"), label, f"{label}-{p}", "test")
        for label in CLASSES
        for p in range(patients)
        for n in range(each)
    ]


# --- the interval -----------------------------------------------------------------------------------------------------


def test_the_interval_has_the_width_that_the_number_of_patients_gives(slices_example):
    # 200 patients, all their slices right or all wrong: a mean of 200 coins is known to 0.035.
    right = np.repeat([0.0, 1.0] * 100, 5)
    patients = np.repeat([f"p{n}" for n in range(200)], 5).tolist()
    low, high = slices_example.patient_interval(right, patients)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.sqrt(0.25 / 200), rel=0.05)


def test_more_slices_of_the_same_patients_make_the_interval_no_narrower(slices_example):
    right, patients = [0.0, 1.0, 1.0, 1.0], ["a", "b", "c", "d"]
    few = slices_example.patient_interval(right, patients)
    many = slices_example.patient_interval(np.repeat(right, 50), np.repeat(patients, 50).tolist())
    assert many == pytest.approx(few)


def test_each_slice_counts_as_much_as_every_other(slices_example):
    # 20 patients with one slice each, right, and 20 with 99 each, wrong: one slice in a hundred is right.
    values = [1.0] * 20 + [0.0] * 20 * 99
    patients = [f"a{n}" for n in range(20)] + [f"b{n}" for n in range(20) for _ in range(99)]
    assert slices_example.patient_interval(values, patients)[1] < 0.03


def test_the_interval_is_that_of_the_statistic(slices_example):
    values, patients = [0.0, 0.0, 3.0], ["a", "b", "c"]
    assert slices_example.patient_interval(values, patients, np.max)[1] == 3.0
    assert slices_example.patient_interval(values, patients, np.min)[0] == 0.0


def test_slices_may_come_in_any_order(slices_example):
    values, patients = np.array([0.1, 0.2, 0.7, 0.9, 0.4]), np.array(["a", "b", "a", "c", "b"])
    order = [4, 2, 0, 3, 1]
    told = slices_example.patient_interval(values, patients.tolist())
    assert slices_example.patient_interval(values[order], patients[order].tolist()) == pytest.approx(told)


# --- the split --------------------------------------------------------------------------------------------------------


def test_a_patient_in_two_splits_is_refused_by_name(slices_example):
    slices = [*made_up(slices_example), slices_example.Slice("x", Path(), Path(), "glioma", "glioma-3", "train")]
    with pytest.raises(InputError, match="patient 'glioma-3' must be in one split, got 'test' and 'train'"):
        slices_example.check_no_leak(slices)


def test_many_slices_of_a_patient_in_one_split_pass(slices_example):
    slices_example.check_no_leak(made_up(slices_example))


def test_reading_the_table_looks_for_leaks(slices_example, tmp_path):
    header = "file,label,patient_id,split,mask\n"
    rows = "images/a.jpg,glioma,7,train,masks/a.png\nimages/b.jpg,glioma,7,test,masks/b.png\n"
    (tmp_path / "labels.csv").write_text(header + rows)
    with pytest.raises(InputError, match="patient '7'"):
        slices_example.read_slices(tmp_path)


def test_reading_the_table_gives_paths_inside_its_folder(slices_example, tmp_path):
    row = "images/a.jpg,glioma,7,train,masks/a.png\n"
    (tmp_path / "labels.csv").write_text("file,label,patient_id,split,mask\n" + row)
    (found,) = slices_example.read_slices(tmp_path)
    expected = ("a", tmp_path / "images/a.jpg", tmp_path / "masks/a.png", "glioma", "7", "train")
    assert (found.name, found.image, found.mask, found.label, found.patient, found.split) == expected


# --- the choice -------------------------------------------------------------------------------------------------------


def test_every_class_gets_its_number_of_cases(slices_example):
    chosen = slices_example.choose_cases(made_up(slices_example))
    assert Counter(one.label for one in chosen) == dict.fromkeys(CLASSES, 8)


def test_no_patient_comes_twice_where_there_are_enough(slices_example):
    chosen = slices_example.choose_cases(made_up(slices_example))
    assert len({one.patient for one in chosen}) == 24


def test_patients_take_turns_where_there_are_too_few(slices_example):
    chosen = slices_example.choose_cases(made_up(slices_example, patients=3))
    counts = Counter(one.patient for one in chosen if one.label == "glioma")
    assert sorted(counts.values()) == [2, 3, 3]


def test_the_choice_depends_on_the_seed_alone(slices_example):
    slices = made_up(slices_example)
    assert slices_example.choose_cases(slices) == slices_example.choose_cases(slices[::-1])
    assert slices_example.choose_cases(slices) != slices_example.choose_cases(slices, seed=1)


# --- the table of cases -----------------------------------------------------------------------------------------------


def test_the_table_of_cases_is_one_that_the_command_line_reads(slices_example, tmp_path):
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(tmp_path / "i.png")
    Image.fromarray(np.eye(6, 8, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    one = slices_example.Slice("a_1", tmp_path / "i.png", tmp_path / "m.png", "glioma", "7", "test")
    (tmp_path / "deep").mkdir()
    slices_example.write_cases(tmp_path / "deep" / "cases.csv", [one])
    (case,) = read_cases(tmp_path / "deep" / "cases.csv")
    assert (case.identifier, case.label, case.group, case.split, case.target) == ("a_1", "glioma", "7", "test", None)
    assert case.mask is not None
    assert case.mask.values.sum() == 6


def test_the_table_of_cases_survives_another_working_folder(slices_example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = slices_example.Slice("a_1", Path("i.png"), Path("m.png"), "glioma", "7", "test")
    slices_example.write_cases(tmp_path / "cases.csv", [one])
    with (tmp_path / "cases.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert Path(row["image"]) == (tmp_path / "i.png").resolve()


# --- the shares -------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows() -> list[dict]:
    """Two methods on three cases; one map had nothing positive."""
    shares = {"gradient": (0.1, 0.3, 0.8), "grad_cam": (0.02, None, 0.5)}
    return [
        {"case": f"c{n}", "method": method, "share_in_mask": share, "mask_share": 0.1 * (n + 1)}
        for method, values in shares.items()
        for n, share in enumerate(values)
    ]


def test_shares_are_summed_up_for_each_method(slices_example, rows):
    gradient, grad_cam = slices_example.share_table(rows, {"c0": "p", "c1": "q", "c2": "q"})
    assert (gradient["method"], grad_cam["method"]) == ("gradient", "grad_cam")
    assert gradient["mean_share"] == pytest.approx(0.4)
    assert gradient["median_share"] == pytest.approx(0.3)
    assert gradient["mean_mask_share"] == pytest.approx(0.2)
    assert gradient["patients"] == 2


def test_times_chance_is_taken_case_by_case(slices_example, rows):
    gradient, _ = slices_example.share_table(rows, dict.fromkeys(("c0", "c1", "c2"), "p"))
    assert gradient["median_times_chance"] == pytest.approx(1.5)
    assert gradient["cases_above_chance"] == 2


def test_maps_without_a_share_are_left_out_and_counted(slices_example, rows):
    _, grad_cam = slices_example.share_table(rows, dict.fromkeys(("c0", "c1", "c2"), "p"))
    assert grad_cam["cases"] == 2
    assert grad_cam["mean_share"] == pytest.approx(0.26)


def test_the_page_tells_accuracy_and_every_method(slices_example, rows):
    training = {"test_slices": 9, "test_patients": 3, "test_accuracy": 0.8, "test_accuracy_interval": (0.7, 0.9)}
    shares = slices_example.share_table(rows, dict.fromkeys(("c0", "c1", "c2"), "p"))
    page = slices_example.markdown(training, shares)
    assert "0.800 (0.700 to 0.900)" in page
    assert page.count("\n| `") == 2
