"""What holds for every test: shapes are checked, the network is closed, threads are few."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import jaxtyping._storage
import pytest
from greenlet import getcurrent
from jaxtyping import install_import_hook

import tests.shapes

# Set before torch is imported, here and in the processes that tests start: threads beyond the cores only wait.
threads = 1 if "PYTEST_XDIST_WORKER" in os.environ else min(4, os.cpu_count() or 1)
os.environ.setdefault("OMP_NUM_THREADS", str(threads))
os.environ.setdefault("MPLBACKEND", "Agg")

if "voxplain" in sys.modules:
    raise RuntimeError("voxplain was imported before the shape hook; no shape would be checked")
install_import_hook("voxplain", f"{tests.shapes.__name__}.{tests.shapes.only_shapes.__name__}")


class OfGreenlet:
    """Names that each greenlet has for itself: jaxtyping keeps one stack a thread, and a meeting's jobs share it."""

    def __init__(self) -> None:
        self.__dict__["names"] = WeakKeyDictionary()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.names.setdefault(getcurrent(), {})[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __setattr__(self, name: str, value: Any) -> None:
        self.names.setdefault(getcurrent(), {})[name] = value


jaxtyping._storage._shape_storage = OfGreenlet()

REPOSITORY = Path(__file__).resolve().parents[1]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real images, from VOXPLAIN_DATA or the folder beside the checkout; the test is skipped where there are none."""
    folder = REPOSITORY / os.environ.get("VOXPLAIN_DATA", "../shared/data")
    if not (folder / "README.md").is_file():
        pytest.skip("no real images here; VOXPLAIN_DATA may name their folder")
    return folder.resolve()


@pytest.fixture(scope="session", autouse=True)
def _closed_network() -> Iterator[None]:
    """A test that reaches for another machine fails and says so; loopback stays open."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise RuntimeError(f"a test must not use the network, but it connects to {address[0]}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield
