"""`voxplain evaluate`: how good maps are, by metrics, with intervals and tests; controls stand beside."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxplain.cli import asking, explain, preparing
from voxplain.cli.progress import shown
from voxplain.errors import OptionError, VoxplainError

if TYPE_CHECKING:
    from voxplain.data.case import Case
    from voxplain.metrics.base_method import Second
    from voxplain.score.model import Model
    from voxplain.study.evaluate import Evaluation

EXAMPLE = """examples:
  voxplain evaluate --model phantom-tumour-types --cases tumours/cases.csv --method gradient --method grad_cam \\
      --out results/
  voxplain evaluate results/ --metric "deletion(imputer='mean')" --metric mprt

Metrics where none is named: {default}; and what each map takes. They need no second model."""

MEASURE: dict[str, dict[str, Any]] = {
    "--metric": {
        "action": "append",
        "metavar": "METRIC",
        "help": "such as deletion or \"pointing_game(tolerance_mm=5)\"; repeats; 'all' for every one (default: below)",
    },
    "--body": {
        "choices": ("all", "segments", "nonzero"),
        "default": "all",
        "help": "which voxels count: all, those of the case's segments, or those that are not 0 (default: all)",
    },
    "--second-model": {
        "action": "append",
        "default": [],
        "metavar": "MODEL",
        "help": "another model for metrics that compare with one: of another seed or architecture, or a folder of "
        "'voxplain train --shuffle-labels'; repeats",
    },
    "--second-weights": {
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "weights of the second models, in their order; '-' for one that brings its own",
    },
    "--shuffled-model": {
        "action": "append",
        "default": [],
        "metavar": "MODEL",
        "help": "a model of any other kind that learnt from shuffled labels, for label_randomisation; repeats",
    },
}

OF_FOLDER = ("method", "target", "prepare", "out", "id", "slice", *(name.replace("-", "_") for name in preparing.FLAGS))
"""Options that a run folder answers itself."""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    from voxplain.study.default_metrics import DEFAULT

    parser.epilog = EXAMPLE.format(default=", ".join(DEFAULT))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "run_folder",
        type=Path,
        nargs="?",
        metavar="RUN",
        help="a run folder whose maps are measured; left out: explain",
    )
    asking.add(parser, "metrics", MEASURE)
    asking.add(parser, "the model", _optional(asking.MODEL, "--model"))
    asking.add(parser, "the image", asking.IMAGE)
    preparing.add(parser.add_argument_group("preparation (a file, flags, or both: flags win)"))
    asking.add(parser, "the question", asking.QUESTION)
    asking.add(parser, "the run", {**_optional(asking.RUN, "--out"), "--json": JSON})
    parser.set_defaults(dry_run=False)


JSON: dict[str, Any] = {"action": "store_true", "help": "print the summary as one JSON document"}


def _optional(options: dict[str, dict[str, Any]], *flags: str) -> dict[str, dict[str, Any]]:
    """The options, of which some are no longer required; a rehearsal is none of this command's."""
    kept = {flag: how for flag, how in options.items() if flag != "--dry-run"}
    return {flag: {**how, "required": False} if flag in flags else how for flag, how in kept.items()}


def run(chosen: argparse.Namespace) -> int:
    """Measure, write the pages, and say where they are."""
    from voxplain.report import evaluation, page

    chosen.out, found = _of_folder(chosen) if chosen.run_folder is not None else _explained(chosen)
    pages = [evaluation.write(chosen.out), page.write(chosen.out)]  # the last one names the first
    _tell(chosen, found, pages)
    return 3 if found.failed else 0


def _explained(chosen: argparse.Namespace) -> "tuple[Path, Evaluation]":
    """Explain and measure in one go."""
    from voxplain.study.evaluate import evaluate

    if chosen.model is None or chosen.out is None:
        raise OptionError("evaluate needs a run folder, or --model, --out and one of --image and --cases")
    explain.check_asked(chosen)
    plan = explain.plan_of(chosen)
    cases = explain.cases_of(chosen)
    try:
        with shown() as (say, tick):
            single = chosen.cases is None
            told = {"metrics": chosen.metric, "second": _second(chosen), "body": chosen.body, "single": single}
            return chosen.out, evaluate(plan, cases, chosen.out, **told, say=say, tick=tick)
    except VoxplainError as error:
        raise explain.as_typed(error, chosen, cases) from error


def _of_folder(chosen: argparse.Namespace) -> "tuple[Path, Evaluation]":
    """Measure the maps of a run folder."""
    from voxplain.study.evaluate import evaluate

    given = [name for name in OF_FOLDER if getattr(chosen, name) is not None]
    if given:
        raise OptionError(f"--{given[0].replace('_', '-')} is what the run folder says itself; leave it out")
    model, references = _model(chosen), explain.references_of(chosen)
    told = {"metrics": chosen.metric, "second": _second(chosen), "body": chosen.body}
    with shown() as (say, tick):
        found = evaluate(
            chosen.run_folder, _cases(chosen), model=model, references=references, **told, say=say, tick=tick
        )
    return chosen.run_folder, found


def _cases(chosen: argparse.Namespace) -> "list[Case] | None":
    """The cases where they are given again, such as for segments, which a run folder does not keep."""
    if chosen.image is None and chosen.cases is None:
        return None
    explain.check_asked(chosen)
    return explain.cases_of(chosen)


def _model(chosen: argparse.Namespace) -> "Model | None":
    """The model of a run folder, as it was read there; one that comes trained need not be named."""
    from voxplain.score.shipped import shipped
    from voxplain.study.evaluate_folder import opened, plan_table

    told = dict(plan_table(opened(chosen.run_folder)).get("model", {}))
    name = chosen.model or (told.get("name") if told.get("name") in shipped() else None)
    if name is None:
        return None
    chosen.output = chosen.output or told.get("output") or None
    chosen.head = told.get("head", "auto") if chosen.head == "auto" else chosen.head
    chosen.class_names = chosen.class_names or ",".join(told.get("class_names", []))
    return explain.model_of(chosen, name, chosen.weights)


def _second(chosen: argparse.Namespace) -> "list[Second]":
    """Further models, read as the first one is."""
    from voxplain.metrics.base_method import Second

    names, files = chosen.second_model, chosen.second_weights
    if files and len(files) != len(names):
        raise OptionError(f"--second-weights must be one for each --second-model ({len(names)}), got {len(files)}")
    weights = [None if one == "-" else Path(one) for one in files] or [None] * len(names)
    others = [
        Second(explain.model_of(chosen, name, file), shuffled=file is None and bool(_shuffled(name)))
        for name, file in zip(names, weights, strict=True)
    ]
    true = [name for name in chosen.shuffled_model if _shuffled(name) is False]
    if true:
        raise OptionError(f"--shuffled-model {true[0]!r} learnt from true labels; train one with --shuffle-labels")
    return [*others, *(Second(explain.model_of(chosen, one, None), shuffled=True) for one in chosen.shuffled_model)]


def _shuffled(source: str) -> bool | None:
    """Whether a network learnt from labels in random order; None for one that does not say."""
    from voxplain.score.released import is_released, learnt_from_shuffled
    from voxplain.score.shipped import model_folder

    folder = model_folder(source)
    return learnt_from_shuffled(folder) if is_released(folder) else None


def _tell(chosen: argparse.Namespace, found: "Evaluation", pages: list[Path]) -> None:
    from voxplain.data.writing import json_text
    from voxplain.study.evaluate_words import summary_words

    if chosen.json:
        told = {"out": str(chosen.out), "pages": list(map(str, pages)), "failed": found.failed}
        print(json_text({**told, "left_out": list(found.left_out), "summary": dict(found.summary)}, indent=1))
        return
    print("\n".join(summary_words(found.summary)))
    print(f"rows: {chosen.out / 'metrics.csv'}; summary: {chosen.out / 'summary.csv'}")
    for page in pages:
        print(f"page: {page}")
