"""Which test images of the Xception study are shown: wrong ones first, then all classes in turn."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from voxplain.data.case import Case
from voxplain.study.study_myopathy_cases import Row, chosen
from voxplain.study.training_folder import PREDICTIONS


def told(trained: Path) -> dict[str, Row]:
    """What a network said about each case of the test part, by the case's name."""
    with (trained / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream) if row["part"] == "test"}


def featured(cases: Sequence[Case], trained: Path, count: int) -> list[Case]:
    """Up to `count` test images: a third of them wrong if there are as many, then the classes in turn."""
    known = {case.identifier: case for case in cases}
    return [known[row["id"]] for row in chosen([*told(trained).values()], count)]
