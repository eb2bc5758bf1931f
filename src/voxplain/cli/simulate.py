"""`voxplain simulate`: a folder of made-up images with their ground truth."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxplain.errors import OptionError

if TYPE_CHECKING:
    from voxplain.phantoms import Simulation
    from voxplain.study.simulate import Simulated

EXAMPLE = """examples:
  voxplain simulate pumpkins --n 2000 --seed 1 --uniform no --target-bias 55 --out pumpkins/
  voxplain simulate "glioma(size=[64, 64, 64], grade='high')" --n 20 --out gliomas/
  voxplain simulate "plant(kind='marker', share=[0.05, 0.95])" --cases chest/cases.csv --out shortcut/"""

FLAGS = {"growth_mode": "--growth-mode", "uniform": "--uniform", "target_bias": "--target-bias", "cases": "--cases"}
"""Options of some phantoms that are flags as well."""

USUAL = 100
"""Images where neither --n nor a table says how many."""

ANSWERS = {"yes": True, "y": True, "true": True, "t": True, "1": True} | {
    "no": False, "n": False, "false": False, "f": False, "0": False
}  # fmt: skip


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("phantom", metavar="NAME", help="a name of voxplain phantoms, or a spec with its options")
    parser.add_argument(
        "--n", type=int, metavar="N", help=f"how many images (default: {USUAL}, or every row of --cases)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal images (default: 0)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: phantoms/ and a name from the request)"
    )
    parser.add_argument("--workers", type=int, metavar="W", help="processes that share the work (default: one a core)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.add_argument_group("options of single phantoms")
    options.add_argument(
        "--growth-mode", metavar="MODE", help="pumpkins: how age shows: human, eternal, tang_ping or no_growth"
    )
    options.add_argument(
        "--uniform", nargs="?", const="yes", metavar="yes|no", help="pumpkins: whether ages are spread evenly"
    )
    options.add_argument(
        "--target-bias", type=float, metavar="YEARS", help="pumpkins: centre of the extra peak, with --uniform no"
    )
    options.add_argument("--cases", metavar="TABLE", help="plant: the table of the images to be changed")


def run(chosen: argparse.Namespace) -> int:
    """Simulate, draw the overview, and say where it all is."""
    from voxplain.cli.progress import shown
    from voxplain.report.overview import write_overview
    from voxplain.study.simulate import default_folder, simulate

    simulation = _simulation(chosen)
    count = _count(chosen, simulation)
    folder = chosen.out or default_folder(simulation, count, chosen.seed)
    with shown() as (say, tick):
        say(f"simulating {simulation.name}")
        done = simulate(simulation, count, seed=chosen.seed, out=folder, workers=chosen.workers, tick=tick)
    _tell(chosen, done, write_overview(done.table, simulation.mask_labels))
    return 0


def _simulation(chosen: argparse.Namespace) -> "Simulation":
    from voxplain.phantoms import phantom
    from voxplain.spec import Spec, parse

    spec = parse(chosen.phantom, "phantom")
    given = {name: getattr(chosen, name) for name in FLAGS if getattr(chosen, name) is not None}
    if "uniform" in given:
        given["uniform"] = _answer(given["uniform"])
    for name in given:
        if name in spec.options:
            raise OptionError(f"{spec.name}: {name} must be given once, got it in the spec and as {FLAGS[name]}")
    return phantom(Spec(spec.name, spec.arguments, {**spec.options, **given}))


def _answer(given: str) -> bool:
    if given.lower() not in ANSWERS:
        raise OptionError(f"--uniform must be yes or no, got {given!r}")
    return ANSWERS[given.lower()]


def _count(chosen: argparse.Namespace, simulation: "Simulation") -> int:
    """How many images: what was asked for, else all that are given."""
    asked = simulation.count() if chosen.n is None else chosen.n
    return USUAL if asked is None else int(asked)


def _tell(chosen: argparse.Namespace, done: "Simulated", overview: Path) -> None:
    from voxplain.data.writing import json_text

    if chosen.json:
        document: dict[str, Any] = {"out": str(done.folder), "table": str(done.table), "overview": str(overview)}
        print(json_text({**document, "count": done.count, "made": done.made}, indent=1))
        return
    kept = done.count - done.made
    print(f"{done.count} images in {done.folder}" + (f" ({kept} of them lay there already)" if kept else ""))
    print(f"table: {done.table}\noverview: {overview}")
