"""Folders of simulated images: alike for any number of workers, reused, taken up again, and never mixed."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from voxplain.data.case import read_cases
from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, InputError, OptionError
from voxplain.phantoms import phantom
from voxplain.study.simulate import default_folder, simulate

SPECS = ("pumpkins", "glioma(size=[20, 20, 16])", "tumours(side=48)", "muscle", "chest(side=64)")


def bytes_of(folder):
    """Every file's bytes by its path, but for the order in which rows were done."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "rows.jsonl"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def rows_of(done):
    with done.table.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_two_workers_write_what_one_writes(tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        simulate(phantom("pumpkins"), 12, seed=4, out=tmp_path / name, workers=workers)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from voxplain.phantoms import phantom\nfrom voxplain.study.simulate import simulate\n"
        f"simulate(phantom('pumpkins'), 12, out={str(tmp_path / 'out')!r}, workers=2)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "in a script call it below `if __name__ == '__main__':`" in done.stderr


@pytest.mark.parametrize("spec", SPECS)
def test_the_ordinary_loader_reads_what_was_written(spec, tmp_path):
    simulation = phantom(spec)
    done = simulate(simulation, 3, seed=1, out=tmp_path, workers=1)
    cases = read_cases(done.table)
    for number, case in enumerate(cases):
        sample = simulation.sample(number, 1)
        assert case.identifier == sample.identifier
        assert case.label == sample.label
        assert np.array_equal(case.image.values, sample.image.values)
        assert np.array_equal(case.mask.values, sample.mask.values)
        assert case.image.channels == sample.image.channels
        assert case.image.grid.same_as(sample.image.grid)
    rank = 2 if cases[0].image.grid.is_2d else 3
    assert Prepare()(cases[0].image, rank).values.ndim == rank + 1


def test_the_table_holds_the_ground_truth(tmp_path):
    done = simulate(phantom("pumpkins"), 2, seed=1, out=tmp_path, workers=1)
    for number, row in enumerate(rows_of(done)):
        truth = phantom("pumpkins").sample(number, 1).truth
        assert {name: row[name] for name in truth} == {name: str(value) for name, value in truth.items()}


def test_patients_stay_on_one_side_of_the_split(tmp_path):
    rows = rows_of(simulate(phantom("tumours(side=32)"), 30, out=tmp_path, workers=1))
    parts = {row["group"]: {other["split"] for other in rows if other["group"] == row["group"]} for row in rows}
    assert all(len(part) == 1 for part in parts.values())
    counts = [sum(part == {name} for part in parts.values()) for name in ("train", "val", "test")]
    assert counts == [7, 1, 2]


def test_pumpkins_are_split_by_position(tmp_path):
    rows = rows_of(simulate(phantom("pumpkins(growth_mode='eternal')"), 20, out=tmp_path, workers=1))
    assert [row["split"] for row in rows] == ["train"] * 16 + ["val"] * 2 + ["test"] * 2


def test_muscle_has_the_layout_of_its_study(tmp_path):
    simulate(phantom("muscle"), 8, out=tmp_path, workers=1)
    with (tmp_path / "dataset.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    assert list(rows[0]) == ["img_name", "label", "group"]
    for row in rows:
        folder = ("healthy", "affected")[int(row["label"])]
        assert (tmp_path / "tiles" / folder / row["img_name"]).is_file()
        assert (tmp_path / "masks" / folder / row["img_name"]).is_file()


def test_gliomas_lie_in_a_folder_a_case(tmp_path):
    simulate(phantom("glioma(size=[16, 16, 16])"), 1, out=tmp_path, workers=1)
    names = {file.name for file in (tmp_path / "glioma-0000").iterdir()}
    assert names == {f"glioma-0000_{part}.nii.gz" for part in ("flair", "t1", "t1ce", "t2", "seg")}


def test_asking_again_makes_nothing_again(tmp_path):
    first, again = (simulate(phantom("chest(side=64)"), 3, out=tmp_path, workers=1) for _ in range(2))
    assert (first.made, again.made) == (3, 0)


def test_a_missing_file_is_made_again(tmp_path):
    done = simulate(phantom("chest(side=64)"), 3, out=tmp_path, workers=1)
    before = bytes_of(tmp_path)
    (tmp_path / rows_of(done)[1]["mask"]).unlink()
    assert simulate(phantom("chest(side=64)"), 3, out=tmp_path, workers=1).made == 1
    assert bytes_of(tmp_path) == before


def test_an_interrupted_folder_goes_on(tmp_path):
    def stop(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    simulation = phantom("chest(side=64)")
    simulate(simulation, 8, out=tmp_path / "whole", workers=1)
    with pytest.raises(KeyboardInterrupt):
        simulate(simulation, 8, out=tmp_path / "part", workers=1, tick=stop)
    assert not (tmp_path / "part" / "cases.csv").exists()
    with (tmp_path / "part" / "rows.jsonl").open("a") as stream:
        stream.write('{"number": 4, "ro')
    rest = simulate(simulation, 8, out=tmp_path / "part", workers=1)
    assert rest.made == 4
    assert bytes_of(tmp_path / "whole") == bytes_of(tmp_path / "part")
    assert simulate(simulation, 8, out=tmp_path / "part", workers=1).made == 0


def test_progress_is_told_up_to_the_end(tmp_path):
    told = []
    simulate(phantom("chest(side=64)"), 4, out=tmp_path, workers=1, tick=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 4)
    assert told[-1] == (4, 4)


def test_equal_requests_share_a_name():
    names = [default_folder(phantom(spec), 5, seed).name for spec, seed in (("chest", 1), ("chest", 1), ("chest", 2))]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("chest-")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "n must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_counts_that_cannot_be_are_refused(options, words, tmp_path):
    asked = {"count": 1, "out": tmp_path / "new", **options}
    with pytest.raises(OptionError, match=words):
        simulate(phantom("chest"), **asked)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_another_request_is_left_alone(tmp_path):
    simulate(phantom("chest(side=64)"), 1, out=tmp_path, workers=1)
    before = bytes_of(tmp_path)
    with pytest.raises(InputError, match="holds another simulation; choose another --out"):
        simulate(phantom("chest(side=64)"), 1, seed=2, out=tmp_path, workers=1)
    assert bytes_of(tmp_path) == before


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="must be empty or of the same simulation"):
        simulate(phantom("chest"), 1, out=tmp_path, workers=1)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="must be a folder, got a file"):
        simulate(phantom("chest"), 1, out=tmp_path / "file", workers=1)


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("voxplain.study.simulate.TemporaryDirectory", refuse)
    with pytest.raises(FileError, match="must be writable, got: Permission denied"):
        simulate(phantom("chest"), 1, out=tmp_path / "new", workers=1)


def test_planting_goes_over_a_whole_table(tmp_path):
    chest = simulate(phantom("chest(side=64)"), 12, out=tmp_path / "chest", workers=1)
    spec = f"plant(kind='marker', strength=1.0, share=[0.0, 1.0], cases={json.dumps(str(chest.table))})"
    simulation = phantom(spec)
    done = simulate(simulation, simulation.count(), out=tmp_path / "marked", workers=1)
    for row, before, after in zip(rows_of(done), read_cases(chest.table), read_cases(done.table), strict=True):
        assert (before.label, before.group, before.split) == (after.label, after.group, after.split)
        changed = (before.image.values != after.image.values).any()
        assert changed == (row["planted"] == "1") == (after.label == "pa")
        assert changed == after.mask.values.any()


def test_other_voxels_under_the_same_table_are_another_request(tmp_path):
    chest = simulate(phantom("chest(side=64)"), 2, out=tmp_path / "chest", workers=1)
    simulation = phantom(f"plant(kind='blur', cases={json.dumps(str(chest.table))})")
    simulate(simulation, 2, out=tmp_path / "planted", workers=1)
    assert simulate(simulation, 2, out=tmp_path / "planted", workers=1).made == 0
    one, other = (chest.folder / row["image"] for row in rows_of(chest))
    one.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="holds another simulation"):
        simulate(simulation, 2, out=tmp_path / "planted", workers=1)


def test_planting_into_several_sequences_keeps_their_names(tmp_path):
    heads = simulate(phantom("glioma(size=[16, 16, 16])"), 2, out=tmp_path / "heads", workers=1)
    simulation = phantom(f"plant(share=[1.0], channels=['t2'], cases={json.dumps(str(heads.table))})")
    done = simulate(simulation, 2, out=tmp_path / "planted", workers=1)
    for before, after in zip(read_cases(heads.table), read_cases(done.table), strict=True):
        assert after.image.channels == before.image.channels == ("flair", "t1", "t1ce", "t2")
        different = [bool((a != b).any()) for a, b in zip(after.image.values, before.image.values, strict=True)]
        assert different == [False, False, False, True]


def test_a_share_for_each_class_is_asked_for(tmp_path):
    slices = simulate(phantom("tumours(side=32)"), 9, out=tmp_path / "a", workers=1)
    simulation = phantom(f"plant(cases={json.dumps(str(slices.table))})")
    with pytest.raises(OptionError, match="one for each of glioma, meningioma, pituitary, got 2"):
        simulate(simulation, 9, out=tmp_path / "b", workers=1)
    assert not (tmp_path / "b").exists()
