"""`voxplain compare`: maps of a run held against each other, and against those of another model."""

import argparse
from pathlib import Path

from voxplain.cli.progress import shown
from voxplain.errors import OptionError

EXAMPLE = """examples:
  voxplain compare results/
  voxplain compare strong/ --against weak/

Reads run folders of voxplain explain or evaluate; no model is needed. Methods are held against methods, layers against
layers, right predictions against wrong ones (where cases have labels), and maps of two models over the same cases.
Comparisons with several other models are kept beside each other, each with a page of its own."""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="run folder; what is found is written into it")
    parser.add_argument("--against", type=Path, metavar="RUN", help="run folder of another model over the same cases")
    parser.add_argument(
        "--cases-shown", type=int, default=4, metavar="N", help="cases whose maps are drawn side by side (default: 4)"
    )
    parser.add_argument("--json", action="store_true", help="print what was found as one JSON document")


def run(chosen: argparse.Namespace) -> int:
    """Compare, write the page, and say where it is."""
    if chosen.against is not None and chosen.against.resolve() == chosen.run_folder.resolve():
        raise OptionError("--against must be another run folder, got the same one")
    if chosen.cases_shown < 0:
        raise OptionError(f"--cases-shown must be at least 0, got {chosen.cases_shown}")
    from voxplain.data.writing import json_text
    from voxplain.report import comparison, page
    from voxplain.study.compare import compare
    from voxplain.study.compare_words import comparison_words

    with shown() as (say, _):
        found = compare(chosen.run_folder, chosen.against, say=say)
        written = comparison.write(chosen.run_folder, chosen.against, cases=chosen.cases_shown)
        page.write(chosen.run_folder)  # which names the page of the comparison
    if chosen.json:
        print(json_text({"out": str(chosen.run_folder), "page": str(written), **found.summary}, indent=1))
        return 0
    print("\n".join(comparison_words(found.summary)))
    print(f"rows: {chosen.run_folder / f'{found.name}.csv'}")
    print(f"page: {written}")
    return 0
