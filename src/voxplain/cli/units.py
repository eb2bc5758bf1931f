"""`voxplain units`: which channels of a layer respond to which label of the masks."""

import argparse
from typing import Any

from voxplain.cli import asking, explain, preparing
from voxplain.cli.progress import shown
from voxplain.errors import VoxplainError

EXAMPLE = """example:
  voxplain units --model phantom-glioma-seg --layer activation_24 --cases gliomas/cases.csv --out units/"""

MEASURE: dict[str, dict[str, Any]] = {
    "--layer": {"required": True, "metavar": "NAME", "help": "the layer whose channels are looked at"},
    "--quantile": {
        "type": float,
        "default": 0.005,
        "metavar": "SHARE",
        "help": "a channel is active where it exceeds the value that this share of its activations in all cases exceed "
        "(default: 0.005)",
    },
    "--label-names": {"metavar": "A,B,...", "help": "names of the masks' labels 0, 1, 2 ..."},
    "--top": {"type": int, "default": 6, "metavar": "N", "help": "channels in the figure (default: 6)"},
}

RUN = ("--out", "--device", "--memory", "--json")


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    asking.add(parser, "the model", asking.MODEL)
    images = {key: how for key, how in asking.IMAGE.items() if key not in ("--reference", "--segments", "--mask")}
    asking.add(parser, "the image", {**images, "--mask": {**asking.IMAGE["--mask"], "help": "labels, such as organs"}})
    preparing.add(parser.add_argument_group("preparation (a file, flags, or both: flags win)"))
    asking.add(parser, "the question", MEASURE)
    asking.add(parser, "the run", {key: asking.RUN[key] for key in RUN})
    parser.set_defaults(reference=[], segments=None, method=["grad_cam"], target=None, **explain.PLAIN_RUN)


def run(chosen: argparse.Namespace) -> int:
    """Dissect, draw, and print the best channels."""
    from voxplain.report.figures import save
    from voxplain.report.units import draw_units
    from voxplain.study.units import Dissecting
    from voxplain.study.units_run import run_units

    explain.check_asked(chosen)
    how = Dissecting(layer=chosen.layer, quantile=chosen.quantile)
    plan, cases = explain.plan_of(chosen), explain.cases_of(chosen)
    names = tuple(name.strip() for name in (chosen.label_names or "").split(",") if name.strip())
    try:
        with shown() as (say, _):
            found = run_units(plan, cases, chosen.out, how, names=names, channels=chosen.top, say=say)
    except VoxplainError as error:
        raise explain.as_typed(error, chosen, cases) from error
    title = f"{plan.model.label}: channels of {how.layer} that fit a label best, {len(cases)} cases"
    file = save(draw_units(found.units, found.maps, names, title=title), chosen.out / "figures" / "units.png")
    _tell(chosen, found.rows, str(file))
    return 0


def _tell(chosen: argparse.Namespace, rows: list[dict[str, Any]], figure: str) -> None:
    from voxplain.data.writing import json_text
    from voxplain.study.units_run import unit_lines

    if chosen.json:
        print(json_text({"out": str(chosen.out), "figure": figure, "rows": rows}, indent=1))
        return
    print("\n".join(unit_lines(rows)))
    print(f"{len({row['channel'] for row in rows})} channels in {chosen.out}; figure: {figure}")
