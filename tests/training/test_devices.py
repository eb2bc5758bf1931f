"""Several devices: the first process speaks and writes."""

import csv
import subprocess
import sys

import pytest

from voxplain.training.devices import leads, wait_for_all


@pytest.mark.parametrize(
    ("environment", "first"),
    [({}, True), ({"LOCAL_RANK": "0"}, True), ({"LOCAL_RANK": "1"}, False), ({"RANK": "2", "LOCAL_RANK": "0"}, False)],
)
def test_the_first_process_leads(environment, first):
    assert leads(environment) is first


def test_one_process_waits_for_nobody():
    wait_for_all()


@pytest.mark.slow
def test_two_processes_train_one_network_and_speak_once(tmp_path):
    settings = ["phantom=tumours(side=32)", "prepare.size=[32,32]", "n=30", "epochs=2"]
    typed = ["train", "tumour-types", *[part for one in settings for part in ("--set", one)]]
    command = [sys.executable, "-m", "voxplain", *typed, "--device", "cpu", "--devices", "2", "--out", "trained"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=True)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["val", "test", "trained"]
    assert sum("epoch 2 of 2" in line for line in done.stderr.splitlines()) == 1
    assert not list((tmp_path / "trained").rglob("*.ckpt"))
    with (tmp_path / "trained" / "history.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 2
