"""`voxplain train`: a recipe and data in, a folder with weights, scores and figures out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxplain.study.training_job import TrainedFolder

EXAMPLE = """examples:
  voxplain train pumpkin-age --out trained/age
  voxplain train tumour-types --data brain-tumours/ --set epochs=30 --set prepare.size=[128,128] --out trained/types
  voxplain explain --model trained/age --image pumpkin.png --method lrp --out results/"""

RECIPES = Path(__file__).parent.parent / "training" / "recipes"
"""Listed here by their names alone, so that --help reads none of them."""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", metavar="RECIPE", help=f"a TOML file, or one of {known}")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="table of cases or folder (default: the recipe's phantom is simulated)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change an option of the recipe, such as epochs=3 or prepare.size=[64,64]; repeats",
    )
    parser.add_argument(
        "--size", choices=("small", "paper"), default="small", help="minutes on two cores, or the source's own size"
    )
    parser.add_argument(
        "--shuffle-labels",
        action="store_true",
        help="deal the training part's labels out again at random: a network for the metric label_randomisation",
    )
    _add_run(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Where it is computed and what is written."""
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: trained/ and a name from the request)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps ... (default: auto)")
    parser.add_argument("--devices", default="auto", metavar="N", help="how many of them share each batch")
    parser.add_argument("--mlflow", action="store_true", help="log to MLflow as well, where it is installed")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(chosen: argparse.Namespace) -> int:
    """Train, draw the figures, and say how good the result is and where it lies."""
    from voxplain.cli.progress import shown
    from voxplain.report.training_figures import write_training_figures
    from voxplain.study.train import train
    from voxplain.training.devices import leads
    from voxplain.training.recipe_files import settings_of

    with shown() as (say, tick):
        done = train(
            chosen.recipe,
            chosen.data,
            out=chosen.out,
            size=chosen.size,
            device=chosen.device,
            devices=chosen.devices,
            mlflow=chosen.mlflow,
            shuffle_labels=chosen.shuffle_labels,
            say=say,
            tick=tick,
            **settings_of(chosen.set),
        )
    if leads():
        _tell(chosen, done, write_training_figures(done.folder))
    return 0


def _tell(chosen: argparse.Namespace, done: "TrainedFolder", figures: list[Path]) -> None:
    from voxplain.data.writing import json_text

    if chosen.json:
        document: dict[str, Any] = {"out": str(done.folder), "reused": done.reused, "scores": done.scores}
        print(json_text({**document, "warnings": done.warnings, "figures": [str(one) for one in figures]}, indent=1))
        return
    for part, scores in done.scores.items():
        print(f"{part}: {_words(scores)}")
    print(f"{'the same training lay there already' if done.reused else 'trained'}: {done.folder}")


def _words(scores: dict[str, Any]) -> str:
    """The plain numbers of a part, with their intervals."""
    told = []
    for name, value in scores.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            ends = scores.get("intervals", {}).get(name)
            within = f" ({ends[0]:.3g} to {ends[1]:.3g})" if ends and None not in ends else ""
            told.append(f"{name} {value:.4g}{within}")
    return ", ".join(told)
