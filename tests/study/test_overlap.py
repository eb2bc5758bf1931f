"""Cases overlap: the next is read and the last written meanwhile; nothing is lost, kept or out of order."""

import gc
import threading
import weakref

import numpy as np
import pytest

from tests.nets import Awkward, seeded
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import FileError
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.space.grid import Grid
from voxplain.study import run as running
from voxplain.study.overlap import Behind
from voxplain.study.plan import Plan

SHAPE = (10, 9, 8)


class Files:
    """Cases whose voxels are made when they are read, and a note of each reading."""

    def __init__(self, count: int) -> None:
        self.read: list[str] = []
        self.alive: list[weakref.ref] = []
        self.cases = [Case(f"case{n}", self._image(n)) for n in range(count)]

    def _image(self, number: int) -> Image:
        def read():
            self.read.append(f"case{number} by {threading.current_thread().name.partition('_')[0]}")
            values = np.random.default_rng(number).normal(size=(1, *SHAPE)).astype(np.float32)
            self.alive.append(weakref.ref(values))
            return values

        return Image(read, Grid(SHAPE, np.eye(4)), identifier=f"case{number}")


def plan() -> Plan:
    model = Model.of(seeded(Awkward, 3, "classification", channels=1).float())
    return Plan(model, Prepare(), (None,), (method("gradient"),))


def test_the_next_case_is_read_while_one_is_worked_on_and_rows_stay_in_order(tmp_path):
    files = Files(4)
    outcome = running.run(plan(), files.cases, tmp_path / "out")
    assert [row["case"] for row in outcome.rows] == [f"case{n}" for n in range(4)]
    assert sorted(files.read) == ["case0 by MainThread", *(f"case{n} by reading" for n in (1, 2, 3))]


def test_voxels_are_let_go_with_their_case(tmp_path):
    files = Files(6)
    most = 0

    def say(line: str) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(ref() is not None for ref in files.alive))

    running.run(plan(), files.cases, tmp_path / "out", say=say)
    assert most <= 3, "one being written, one worked on, one being read"
    gc.collect()
    assert not any(ref() is not None for ref in files.alive)


def test_a_case_is_written_while_the_next_one_is_worked_on(tmp_path, monkeypatch):
    begun, whole, made = threading.Event(), running._write, running._made
    seen = []

    def write(folder, case, *rest):
        seen.append((case.identifier, threading.current_thread() is threading.main_thread()))
        assert case.identifier != "case0" or begun.wait(20), "the second case never began"
        return whole(folder, case, *rest)

    def work(explainer, case, *rest):
        if case.identifier == "case1":
            begun.set()
        return made(explainer, case, *rest)

    monkeypatch.setattr(running, "_write", write)
    monkeypatch.setattr(running, "_made", work)
    outcome = running.run(plan(), Files(3).cases, tmp_path / "out")
    assert seen == [(f"case{n}", False) for n in range(3)]
    assert len(outcome.rows) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_finished_case_is_kept_where_the_next_one_breaks_off(tmp_path, monkeypatch, error):
    made = running._made

    def work(explainer, case, *rest):
        if case.identifier == "case1":
            raise error
        return made(explainer, case, *rest)

    monkeypatch.setattr(running, "_made", work)
    with pytest.raises(error):
        running.run(plan(), Files(3).cases, tmp_path / "out")
    assert (tmp_path / "out" / "rows.jsonl").read_text().count("\n") == 1


def test_what_cannot_be_written_ends_the_run(tmp_path, monkeypatch):
    def full(*everything):
        raise FileError("cannot write 'map.nii.gz': No space left on device")

    monkeypatch.setattr(running, "_write", full)
    with pytest.raises(FileError, match="No space left"):
        running.run(plan(), Files(1).cases, tmp_path / "out")


def test_a_file_that_cannot_be_read_fails_its_own_case_only(tmp_path):
    def broken():
        raise FileError("'x.nii.gz' cannot be read")

    files = Files(3)
    bad = Case("bad", Image(broken, Grid(SHAPE, np.eye(4)), identifier="bad"))
    outcome = running.run(plan(), [files.cases[0], bad, *files.cases[1:]], tmp_path / "out")
    assert [row["status"] for row in outcome.rows] == ["done", "failed", "done", "done"]


def test_large_maps_are_written_before_the_next_case(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "MOST_BEHIND", 0)
    told = []
    rows = tmp_path / "out" / "rows.jsonl"
    running.run(plan(), Files(2).cases, tmp_path / "out", say=lambda line: told.append((line, rows.exists())))
    assert [there for line, there in told if line.startswith("case 2")] == [True]


def test_work_behind_is_done_in_order_and_its_error_is_raised_by_the_next_call():
    done = []
    with Behind() as behind:
        for number in range(5):
            behind.do(lambda number=number: done.append(number))
        behind.wait()
    assert done == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError), Behind() as behind:
        behind.do(lambda: 1 / 0)
    with Behind() as behind:
        behind.do(lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            behind.do(lambda: done.append(5))
    assert done == [0, 1, 2, 3, 4]
