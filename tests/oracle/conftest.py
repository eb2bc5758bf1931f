"""Writes the table of agreements where it was asked for."""

import pytest

from tests.oracle import agreement


@pytest.fixture(scope="session", autouse=True)
def _table():
    yield
    agreement.write()
