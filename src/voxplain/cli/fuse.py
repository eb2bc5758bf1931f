"""`voxplain fuse`: the maps of several runs over the same cases, joined case by case."""

import argparse
from pathlib import Path

from voxplain.errors import OptionError

EXAMPLE = """example, for two models that were asked about the same cases:
  voxplain fuse resnet18/ resnet50/ --fusion "fusion(rule='intersection')" --out fused/"""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("run_folders", type=Path, nargs="+", metavar="DIR", help="run folders of voxplain explain")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folder to write")
    parser.add_argument(
        "--fusion",
        default="fusion",
        metavar="FUSION",
        help="such as \"fusion(rule='median', block=1)\"; rules: threshold, average, intersection, median, majority, "
        "rank_mean, variance_weighted, product (default: fusion, the average of 7-voxel blocks)",
    )
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="METHOD",
        help="only maps of this method (with these very options, where some are given); repeats (default: all maps)",
    )


def run(chosen: argparse.Namespace) -> int:
    """Join the maps, write the page, and say where it is."""
    from voxplain.cli.progress import shown
    from voxplain.methods import method
    from voxplain.report import page
    from voxplain.study.fuse import fusion
    from voxplain.study.fuse_runs import fuse_runs

    folders = [folder.resolve() for folder in chosen.run_folders]
    if len(set(folders)) < len(folders) or chosen.out.resolve() in folders:
        raise OptionError("fuse needs run folders that differ from each other and from --out")
    how, methods = fusion(chosen.fusion), [method(one) for one in chosen.method]
    with shown() as (say, _):
        outcome = fuse_runs(chosen.run_folders, chosen.out, how, methods, say=say)
    print(f"page: {page.write(chosen.out)}")
    return 3 if outcome.failed else 0
