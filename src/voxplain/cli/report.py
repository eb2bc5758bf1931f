"""`voxplain report`: the page of a run folder, written again."""

import argparse
from pathlib import Path

from voxplain.errors import FileError


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.add_argument("run_folder", type=Path, metavar="DIR", help="a run folder")


def run(chosen: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    from voxplain.report import page

    if not (chosen.run_folder / "plan.toml").exists():
        raise FileError(f"{chosen.run_folder.name!r} must be a run folder, got one without plan.toml")
    print(f"page: {page.write(chosen.run_folder)}")
    return 0
