"""`voxplain demo`: the main job offline, on phantoms and with networks that come with the package."""

import argparse
from pathlib import Path

from voxplain.cli import asking


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="run folder to write (default: demo)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="seed of phantoms and methods (default: 0)")


def run(chosen: argparse.Namespace) -> int:
    """Simulate, ask, explain, measure, and say where the page is."""
    from voxplain.report import page
    from voxplain.study.demo import run_demo

    folder = run_demo(chosen.out, seed=chosen.seed, device=asking.device(chosen.device))
    print(f"page: {page.write(folder)}")
    return 0
