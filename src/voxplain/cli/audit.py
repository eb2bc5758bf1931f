"""`voxplain audit`: what a model looks at, and which explanations of it can be trusted."""

import argparse
from typing import TYPE_CHECKING, Any

from voxplain.cli import asking, explain, preparing
from voxplain.cli.progress import shown
from voxplain.errors import VoxplainError

if TYPE_CHECKING:
    from voxplain.study.audit import Audit

EXAMPLE = """example:
  voxplain audit --model trained/views --prepare trained/views/prepare.toml --cases films/cases.csv --out audit/

Without --method these are audited, as far as the model allows: {default}. The column label adds how often the
model is right, the column group joins images of a patient."""

CHECKS: dict[str, dict[str, Any]] = {
    "--body": {
        "choices": ("otsu", "mask", "segments", "nonzero"),
        "default": "otsu",
        "help": "what counts as body: what is brighter than air, half way up to Otsu's threshold, with all that it "
        "encloses; the cases' masks or segments; or voxels that are not 0 (default: otsu)",
    },
    "--quick": {"action": "store_true", "help": "fewer cases, steps and stages in the checks that ask the model again"},
}


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    from voxplain.study.audit_methods import METHODS

    parser.epilog = EXAMPLE.format(default=", ".join(METHODS))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    asking.add(parser, "the model", asking.MODEL)
    asking.add(parser, "the image", asking.IMAGE)
    preparing.add(parser.add_argument_group("preparation (a file, flags, or both: flags win)"))
    asking.add(parser, "the question", asking.QUESTION)
    asking.add(parser, "the checks", CHECKS)
    run_options = {flag: how for flag, how in asking.RUN.items() if flag not in ("--dry-run", "--verify")}
    json = {"action": "store_true", "help": "print the verdicts as one JSON document"}
    asking.add(parser, "the run", {**run_options, "--json": json})
    parser.set_defaults(dry_run=False, verify=False)


def run(chosen: argparse.Namespace) -> int:
    """Audit, write the page, and say what was found."""
    from dataclasses import replace

    from voxplain.methods import method
    from voxplain.report import audit as page
    from voxplain.study.audit import audit
    from voxplain.study.audit_methods import default_methods

    explain.check_asked(chosen)
    plan, cases = explain.plan_of(chosen), explain.cases_of(chosen)
    if not chosen.method:
        plan = replace(plan, methods=tuple(map(method, default_methods(plan.model.access))))
    try:
        with shown() as (say, tick):
            found = audit(plan, cases, chosen.out, body=chosen.body, quick=chosen.quick, say=say, tick=tick)
    except VoxplainError as error:
        raise explain.as_typed(error, chosen, cases) from error
    _tell(chosen, found, str(page.write(chosen.out)))
    return 3 if found.failed else 0


def _tell(chosen: argparse.Namespace, found: "Audit", page: str) -> None:
    from voxplain.data.writing import json_text

    if chosen.json:
        print(json_text({"out": str(chosen.out), "page": page, **found.to_table()}, indent=1))
        return
    for one in found.verdicts:
        print(f"{one.outcome:>14}  {one.check}: {one.sentence}")
    print(found.recommendation.sentence)
    for case, reason in found.failed.items():
        print(f"failed: {case}: {reason}")
    print(f"page: {page}")
