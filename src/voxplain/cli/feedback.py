"""`voxplain feedback`: a form in which readers rate maps without knowing their methods, and what their answers say."""

import argparse
import sys
from pathlib import Path
from typing import Any

EXAMPLE = """examples:
  voxplain feedback form results/ --out reader1.html --reader-seed 1 --sham
  voxplain feedback collect answers-*.json --key reader1.key.json --out feedback/"""

FORM: dict[str, dict[str, Any]] = {
    "--out": {"type": Path, "required": True, "metavar": "FILE", "help": "form to write; its key lies beside it"},
    "--reader-seed": {
        "type": int,
        "default": 0,
        "metavar": "N",
        "help": "sets the order of cases and maps; give each reader another one (default: 0)",
    },
    "--cases": {"type": int, "metavar": "N", "help": "the first N cases of the run (default: all)"},
    "--methods": {"nargs": "+", "default": [], "metavar": "METHOD", "help": "methods by name or spec (default: all)"},
    "--target": {"metavar": "TARGET", "help": "maps of this target, as the run wrote it (default: a case's first)"},
    "--sham": {
        "nargs": "?",
        "const": "random_map",
        "default": "",
        "metavar": "CONTROL",
        "help": "one more map that knows nothing, as attention check: random_map (default), edge_map or centre_blob",
    },
    "--causability": {"action": "store_true", "help": "end with the ten items of the System Causability Scale"},
    "--question": {"default": "", "metavar": "TEXT", "help": "what readers say about each image themselves"},
    "--answers": {"metavar": "A,B,...", "help": "what they choose from (default: the model's classes, or a number)"},
    "--plane": {"choices": ("axial", "coronal", "sagittal"), "help": "how a volume is cut (default: axial)"},
    "--channel": {"metavar": "NAME", "help": "channel of the image that is shown (default: the first)"},
}


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of both halves of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    halves = parser.add_subparsers(dest="half", metavar="form | collect", required=True)
    form = halves.add_parser(
        "form", help="write a form for readers and its key", description="Write a form and its key."
    )
    form.add_argument("run_folder", type=Path, metavar="RUN", help="run folder of voxplain explain")
    for flag, settings in FORM.items():
        form.add_argument(flag, **settings)
    words = "say what the answers of readers add up to"
    collect = halves.add_parser("collect", help=words, description=words[0].upper() + words[1:] + ".")
    collect.add_argument("answers", type=Path, nargs="+", metavar="ANSWERS", help="files that readers saved")
    collect.add_argument(
        "--key", type=Path, action="append", required=True, metavar="FILE", help="key of a form; repeats"
    )
    collect.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for page, table and JSON")
    collect.add_argument("--json", action="store_true", help="print what was found as one JSON document")


def run(chosen: argparse.Namespace) -> int:
    """Write a form, or collect answers."""
    return _form(chosen) if chosen.half == "form" else _collect(chosen)


def _form(chosen: argparse.Namespace) -> int:
    from voxplain.report.feedback_cases import Asked
    from voxplain.report.feedback_form import write

    asked = Asked(
        seed=chosen.reader_seed,
        cases=chosen.cases,
        methods=tuple(chosen.methods),
        target=chosen.target,
        sham=chosen.sham,
        causability=chosen.causability,
        question=chosen.question,
        answers=tuple(one.strip() for one in (chosen.answers or "").split(",") if one.strip()),
        plane=chosen.plane,
        channel=chosen.channel,
    )
    form, key = write(chosen.run_folder, chosen.out, asked)
    print(f"form: {form}")
    print(f"key: {key} (not for readers)")
    return 0


def _collect(chosen: argparse.Namespace) -> int:
    """3 where something was not answered."""
    from voxplain.data.writing import json_text
    from voxplain.report.feedback import collect
    from voxplain.study.feedback_words import missing_words, summary_words

    written = collect(chosen.answers, chosen.key, chosen.out)
    lacking = missing_words(written.summary["missing"])
    for line in lacking:
        print(line, file=sys.stderr)
    if chosen.json:
        print(json_text({"out": str(chosen.out), "page": str(written.page), **written.summary}, indent=1))
    else:
        print("\n".join(summary_words(written.summary)))
        print(f"rows: {chosen.out / 'feedback.csv'}")
        print(f"page: {written.page}")
    return 3 if lacking else 0
