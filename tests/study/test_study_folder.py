"""A study's name, options and folder: found by its name, begun once, kept, and refused where something else lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from voxplain.errors import FileError, InputError, OptionError
from voxplain.study.studies import NUMBERS, REQUEST, Study, name_in, read_numbers, run_study, study_of, write_numbers


@dataclass(frozen=True, kw_only=True)
class Counting(Study):
    """Counts how often it runs."""

    name: ClassVar[str] = "pumpkin"
    title: ClassVar[str] = "counting"
    runs: ClassVar[list[Path]] = []

    stop: bool = False

    def run(self, folder, say):
        say("counting")
        self.runs.append(folder)
        if self.stop:
            raise KeyboardInterrupt
        write_numbers(folder, {"runs": len(self.runs)})


@pytest.fixture(autouse=True)
def from_nothing():
    Counting.runs.clear()


def test_a_name_may_have_a_dash_or_not():
    assert study_of("chest-view", n=10) == study_of("chest_view(n=10)") == study_of("chest-view(n=10)")


def test_an_unknown_name_is_told_with_the_nearest_one():
    with pytest.raises(OptionError, match=r"unknown study 'pumpkn'; did you mean 'pumpkin'\?"):
        study_of("pumpkn")


def test_options_are_given_once():
    with pytest.raises(OptionError, match="pumpkin: epochs must be given once"):
        study_of("pumpkin(epochs=3)", epochs=4)


def test_an_unknown_option_is_told():
    with pytest.raises(OptionError, match="pumpkin: unknown option 'epoch'; did you mean 'epochs'"):
        study_of("pumpkin", epoch=3)


def test_a_size_that_is_none_is_refused():
    with pytest.raises(OptionError, match="size must be one of 'small', 'paper', got 'large'"):
        study_of("pumpkin", size="large")


def test_a_finished_study_is_kept(tmp_path):
    first = run_study(Counting(), tmp_path / "s")
    again = run_study(Counting(), tmp_path / "s")
    assert (first.reused, again.reused, first.numbers, again.numbers) == (False, True, {"runs": 1}, {"runs": 1})


def test_the_device_does_not_make_another_study(tmp_path):
    run_study(Counting(device="cpu"), tmp_path / "s")
    assert run_study(Counting(device="auto"), tmp_path / "s").reused


def test_an_interrupted_study_runs_on_in_its_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_study(Counting(stop=True), tmp_path / "s")
    assert not (tmp_path / "s" / NUMBERS).exists()
    with pytest.raises(KeyboardInterrupt):
        run_study(Counting(stop=True), tmp_path / "s")
    assert len(Counting.runs) == 2


def test_another_study_in_the_folder_is_refused(tmp_path):
    run_study(Counting(), tmp_path / "s")
    with pytest.raises(InputError, match="'s' holds another study; choose another --out"):
        run_study(Counting(seed=5), tmp_path / "s")


def test_other_data_make_another_study_and_their_place_is_not_written_down(tmp_path):
    for name in ("anna", "berta"):
        (tmp_path / name).mkdir()
    run_study(Counting(data=tmp_path / "anna"), tmp_path / "s")
    assert "anna" not in (tmp_path / "s" / REQUEST).read_text()
    with pytest.raises(InputError, match="holds another study"):
        run_study(Counting(data=tmp_path / "berta"), tmp_path / "s")


def test_data_that_do_not_exist_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        run_study(Counting(data=tmp_path / "no"), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="must be empty or of the same study"):
        run_study(Counting(), tmp_path)


def test_the_usual_folder_is_one_for_equal_requests(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again, other = (run_study(Counting(seed=seed)) for seed in (0, 0, 1))
    assert first.path == again.path != other.path
    assert first.path.parts[0] == "studies"


def test_a_folder_knows_its_study(tmp_path):
    run_study(Counting(), tmp_path / "s")
    assert name_in(tmp_path / "s") == "pumpkin"
    with pytest.raises(FileError, match=r"'study.toml' in .* must be readable"):
        name_in(tmp_path)


def test_numbers_are_json_that_every_reader_takes(tmp_path):
    write_numbers(tmp_path, {"a": float("nan"), "b": 1})
    assert read_numbers(tmp_path) == {"a": None, "b": 1}
    (tmp_path / NUMBERS).write_text("{")
    with pytest.raises(FileError, match="remove it to run again"):
        read_numbers(tmp_path)
