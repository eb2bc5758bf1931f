"""`voxplain benchmark`: methods ranked on phantoms whose truth is known."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from voxplain.cli.progress import shown

if TYPE_CHECKING:
    from voxplain.study.benchmark import Leaderboard

EXAMPLE = """examples:
  voxplain benchmark --out board/
  voxplain benchmark --quick --out board/
  voxplain benchmark --method "occlusion(window=8)" --method grad_cam --phantom focal --phantom diffuse --out board/

Trains a small network on each phantom, sees by a swap test that it uses what was planted, and only then ranks methods
by the ground truth. Networks and rows stay in the folder: the same command goes on where it stopped."""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--method", action="append", metavar="METHOD",
        help="such as grad_cam or 'occlusion(window=8)'; repeats; 'all' for the default set: every method, with "
        "options of moderate cost",
    )  # fmt: skip
    parser.add_argument(
        "--phantom", action="append", metavar="NAME",
        help="focal, focal_3d, diffuse, sequence, suppressor or shortcut; repeats (default: all)",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, metavar="N", help="other heads and trainings (default: 3; --quick: 1)")
    parser.add_argument(
        "--heads", type=int, metavar="N", help="heads explained of each phantom and seed (default: 8; --quick: 4)"
    )
    parser.add_argument("--quick", action="store_true", help="ten methods of a few passes, one seed, few heads")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--json", action="store_true", help="print the leaderboard as one JSON document")


def run(chosen: argparse.Namespace) -> int:
    """Run the benchmark, draw it, and say how the methods stand; 3 where rows failed."""
    from voxplain.report.benchmark import write
    from voxplain.study.benchmark import benchmark

    with shown() as (say, tick):
        found = benchmark(
            chosen.out,
            methods=chosen.method,
            phantoms=chosen.phantom,
            seeds=chosen.seeds,
            heads=chosen.heads,
            quick=chosen.quick,
            say=say,
            tick=tick,
        )
        page = write(found.folder)
    _tell(chosen, found, page)
    return 3 if found.failed else 0


def _tell(chosen: argparse.Namespace, found: "Leaderboard", page: Path) -> None:
    from voxplain.data.writing import json_text
    from voxplain.study.benchmark import BOARD, TABLE
    from voxplain.study.benchmark_words import board_words

    if chosen.json:
        files = {"out": str(found.folder), "page": str(page), "failed": found.failed}
        print(json_text({**files, **found.result}, indent=1))
        return
    print("\n".join(board_words(found.result)))
    print(f"leaderboard: {found.folder / BOARD}; table: {found.folder / TABLE}")
    print(f"page: {page}")
