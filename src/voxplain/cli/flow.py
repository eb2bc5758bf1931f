"""`voxplain flow`: one method at every convolution of a network, in one pass."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxplain.cli import asking, dry_run, explain, preparing
from voxplain.cli.progress import shown
from voxplain.errors import VoxplainError

if TYPE_CHECKING:
    from voxplain.data.case import Case
    from voxplain.study.flow import FlowPlan
    from voxplain.study.plan import Plan
    from voxplain.study.run import Outcome

EXAMPLE = """example:
  voxplain flow --model phantom-glioma-seg --image flair=flair.nii.gz --image t1=t1.nii.gz \\
      --image t1ce=t1ce.nii.gz --image t2=t2.nii.gz --target "region(2)" --out flow/"""

LAYERS: dict[str, dict[str, Any]] = {
    "--layers": {
        "action": "append",
        "default": [],
        "metavar": "PATTERN",
        "help": "only convolutions of this pattern, such as 'encoder*', or one layer of any kind by its full name; "
        "repeats (default: all convolutions)",
    },
    "--each": {"action": "store_true", "help": "draw a figure for every layer, besides those of all layers"},
}

QUESTION: dict[str, dict[str, Any]] = {
    "--method": {
        **asking.QUESTION["--method"],
        "help": "a relative of class activation maps that shares one pass among all layers, guided_grad_cam, gradient "
        "or input_x_gradient; repeats; 'all' for every one (default: grad_cam)",
    },
    "--target": asking.QUESTION["--target"],
}


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    asking.add(parser, "the model", asking.MODEL)
    asking.add(parser, "the image", {key: how for key, how in asking.IMAGE.items() if key not in UNUSED})
    preparing.add(parser.add_argument_group("preparation (a file, flags, or both: flags win)"))
    asking.add(parser, "the question", {**QUESTION, **LAYERS})
    asking.add(parser, "the run", asking.RUN)
    parser.set_defaults(reference=[], segments=None)


UNUSED = ("--reference", "--segments")
"""Options of images that no method of a flow looks at."""


def run(chosen: argparse.Namespace) -> int:
    """Explain, draw, and print the table of the layers."""
    from voxplain.report import page
    from voxplain.report.flow import write_flow_figures
    from voxplain.study.flow import FlowPlan, run_flow

    explain.check_asked(chosen)
    plan = FlowPlan.of(_asked(chosen), chosen.layers)
    cases = explain.cases_of(chosen)
    if chosen.dry_run:
        return dry_run.run(_spelled_out(plan, cases[0]), cases, as_json=chosen.json)
    try:
        with shown() as (say, tick):
            outcome = run_flow(plan, cases, chosen.out, single=chosen.cases is None, say=say, tick=tick)
    except VoxplainError as error:
        raise explain.as_typed(error, chosen, cases) from error
    figures = write_flow_figures(chosen.out, each=chosen.each)
    written = page.write(chosen.out)
    _tell(chosen, outcome, figures, written)
    return 3 if outcome.failed else 0


def _asked(chosen: argparse.Namespace) -> "Plan":
    """The plan with the methods of a flow that were meant."""
    from voxplain.methods import method
    from voxplain.study.flow_maps import flowing, flowing_names

    given = chosen.method or ["grad_cam"]
    chosen.method = [name for one in given for name in (flowing_names() if one == "all" else [one])]
    for one in chosen.method:
        flowing(method(one))  # before a network is loaded
    return explain.plan_of(chosen)


def _spelled_out(plan: "FlowPlan", case: "Case") -> "Plan":
    """The same plan with every layer named, as it can be rehearsed."""
    from dataclasses import replace

    from voxplain.study.explain import Explainer
    from voxplain.study.flow_layers import flow_layers

    ready = Explainer(plan.model, plan.prepare, plan.budget).ready(case.image, case.mask, case.slice)
    layers = flow_layers(plan.model, ready.x, plan.layers).names
    return replace(plan, methods=tuple(replace(one, layer=layers) for one in plan.methods))  # type: ignore[call-arg]


def _tell(chosen: argparse.Namespace, outcome: "Outcome", figures: list[Path], page: Path) -> None:
    from voxplain.data.writing import json_text
    from voxplain.study.flow import flow_table

    if chosen.json:
        document = {"out": str(chosen.out), "page": str(page), "figures": list(map(str, figures))}
        print(json_text({**document, "rows": outcome.rows}, indent=1))
        return
    done = [row for row in outcome.rows if row["status"] == "done"]
    cases = len({row["case"] for row in done})
    for target, method in dict.fromkeys((row["target"], row["method"]) for row in done):
        own = [row for row in done if (row["target"], row["method"]) == (target, method)]
        print(f"{method}, {target}" + (f": medians of {cases} cases" if cases > 1 else ""))
        print("\n".join(flow_table(own)))
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    print(f"{len(done)} maps{failed} and {len(figures)} figures in {chosen.out}")
    print(f"page: {page}")
