"""`voxplain influence`: which regions of the input drive which output label."""

import argparse
from typing import Any

from voxplain.cli import asking, explain, preparing
from voxplain.cli.progress import shown
from voxplain.errors import OptionError, VoxplainError

EXAMPLE = """example:
  voxplain influence --model phantom-glioma-seg --cases gliomas/cases.csv --out influence/"""

MEASURE: dict[str, dict[str, Any]] = {
    "--regions": {
        "choices": ("auto", "segments", "mask", "predicted"),
        "default": "auto",
        "help": "which labels cut the input into regions (default: segments, else the mask, else what is predicted)",
    },
    "--fill": {
        "default": "tissue",
        "metavar": "FILL",
        "help": "what covers a region: tissue (the mean of tissue without a label), zero, mean, minimum, blur or a "
        "number in units of the network's input (default: tissue)",
    },
    "--region-names": {"metavar": "A,B,...", "help": "names of the labels 0, 1, 2 ... of the regions"},
}

RUN = ("--out", "--device", "--memory", "--json")


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    asking.add(parser, "the model", asking.MODEL)
    asking.add(parser, "the image", {key: how for key, how in asking.IMAGE.items() if key != "--reference"})
    preparing.add(parser.add_argument_group("preparation (a file, flags, or both: flags win)"))
    asking.add(parser, "the question", MEASURE)
    asking.add(parser, "the run", {key: asking.RUN[key] for key in RUN})
    parser.set_defaults(reference=[], method=["region_ablation"], target=None, **explain.PLAIN_RUN)


def run(chosen: argparse.Namespace) -> int:
    """Measure, draw, and print the mean matrix."""
    from voxplain.report.figures import save
    from voxplain.report.influence import draw_influence
    from voxplain.study.influence import Influencing
    from voxplain.study.influence_run import influence_matrix, run_influence

    explain.check_asked(chosen)
    how = Influencing(regions=chosen.regions, fill=_fill(chosen.fill))
    names = tuple(name.strip() for name in (chosen.region_names or "").split(",") if name.strip())
    plan, cases = explain.plan_of(chosen), explain.cases_of(chosen)
    single = chosen.cases is None
    try:
        with shown() as (say, _):
            rows = run_influence(plan, cases, chosen.out, how, region_names=names, single=single, say=say)
    except VoxplainError as error:
        raise explain.as_typed(error, chosen, cases) from error
    done = [row for row in rows if row["status"] == "done"]
    count = len({row["case"] for row in done})
    if done:
        title = f"{plan.model.label}: which regions drive which output" + (f", mean of {count} cases" * (count > 1))
        save(draw_influence(influence_matrix(rows), title=title), chosen.out / "figures" / "influence.png")
    _tell(chosen, rows, count)
    return 3 if len(done) < len(rows) else 0


def _fill(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        if text not in ("tissue", "zero", "mean", "minimum", "blur"):
            raise OptionError(f"--fill must be tissue, zero, mean, minimum, blur or a number, got {text!r}") from None
        return text


def _tell(chosen: argparse.Namespace, rows: list[dict[str, Any]], count: int) -> None:
    from voxplain.data.writing import json_text
    from voxplain.study.influence_run import influence_matrix, matrix_lines

    if chosen.json:
        print(json_text({"out": str(chosen.out), "rows": rows}, indent=1))
        return
    if count:
        print("\n".join(matrix_lines(influence_matrix(rows))))
    print(f"{count} case{'s' if count != 1 else ''} in {chosen.out}")
