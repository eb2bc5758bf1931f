"""`voxplain view`: says where it is, serves until Ctrl-C, and refuses in a sentence."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

HEEDING = """
import signal, sys
from voxplain.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["view", *sys.argv[1:]]))
"""
"""The command; it heeds Ctrl-C also in what a shell started in the background, which ignores it."""


def view(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "BROWSER": "false"}
    command = [sys.executable, "-c", HEEDING, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture
def ran(explain):
    assert explain().code == 0
    return Path("out")


def test_it_serves_until_it_is_interrupted(ran):
    with view(str(ran), "--no-browser") as process:
        address = process.stdout.readline().removeprefix("viewer: ").strip()
        assert address.startswith("http://127.0.0.1:")
        with urlopen(address) as page:
            assert b"<title>Voxplain viewer</title>" in page.read()
        with urlopen(f"{address}volumes/index.json") as answer:
            assert b"gradient" in answer.read()
        assert "Ctrl-C" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 0


def test_what_is_missing_is_told(ran, voxplain, monkeypatch):
    from voxplain.report.viewer_server import ViewerServer

    monkeypatch.setattr(ViewerServer, "serve_forever", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    next(ran.glob("maps/*/*/*/*.nii.gz")).unlink()
    done = voxplain("view", str(ran), "--no-browser")
    assert done.code == 0
    assert "missing: map" in done.err


def test_the_browser_is_opened_unless_told_otherwise(ran, voxplain, monkeypatch):
    from voxplain.report.viewer_server import ViewerServer

    opened = []
    monkeypatch.setattr(ViewerServer, "serve_forever", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert voxplain("view", str(ran), "--no-browser").code == 0
    assert opened == []
    done = voxplain("view", str(ran))
    assert opened == [done.out.splitlines()[0].removeprefix("viewer: ")]


def test_a_folder_that_is_no_run_is_refused(files, voxplain):
    (files / "empty").mkdir()
    for name, words in (
        ("empty", "must hold a case"),
        ("nowhere", "must be a folder"),
        ("film.png", "must be a folder"),
    ):
        done = voxplain("view", name, "--no-browser")
        assert done.code == 2
        assert words in done.sentence
        assert "Traceback" not in done.err


def test_a_port_that_cannot_be_had_is_refused(ran, voxplain):
    done = voxplain("view", str(ran), "--no-browser", "--port", "70000")
    assert done.code == 2
    assert "--port must be free and allowed, got 70000" in done.sentence
