"""`voxplain report`: the page of a run folder, written again, and JSON beside it."""

import argparse
import sys
from pathlib import Path

from voxplain.errors import InputError


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.add_argument("run_folder", type=Path, metavar="DIR", help="a run folder")
    parser.add_argument(
        "--atlas", type=Path, metavar="LABELS", help="label image in mm, in the space of the scans: names structures"
    )
    parser.add_argument(
        "--atlas-names", type=Path, metavar="CSV", help="names of the atlas's labels: a table with columns label, name"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON and nothing else")


def run(chosen: argparse.Namespace) -> int:
    """Write the page, name what is missing on standard error, and say where the page is."""
    from voxplain.report import page
    from voxplain.report.atlas import read_atlas

    if chosen.atlas_names is not None and chosen.atlas is None:
        raise InputError("--atlas-names needs --atlas, the image whose labels it names")
    atlas = None if chosen.atlas is None else read_atlas(chosen.atlas, chosen.atlas_names)
    written = page.write_all(chosen.run_folder, atlas=atlas)
    for sentence in written.missing:
        print(f"voxplain: missing: {sentence}", file=sys.stderr)
    if chosen.json:
        print(written.json.read_text(encoding="utf-8"), end="")
        return 0
    print(f"page: {written.page}")
    print(f"json: {written.json}")
    return 0
