"""`voxplain figure`: one figure of a run folder, as PNG, PDF or SVG."""

import argparse
from pathlib import Path
from typing import Any

from voxplain.errors import FileError, OptionError
from voxplain.report.figure_kinds import KINDS

EXAMPLE = """kinds of figures:
{kinds}

example:
  voxplain figure results/ --kind montage --method grad_cam --out montage.pdf"""

OPTIONS: dict[str, dict[str, Any]] = {
    "--method": {"metavar": "NAME", "help": "the method by its name (default: the run's first one)"},
    "--target": {"metavar": "TARGET", "help": "maps of this target, as the run wrote it (default: a case's first)"},
    "--shared": {"action": "store_true", "default": None, "help": "maps of one unit share their colour limits"},
    "--plane": {"choices": ("axial", "coronal", "sagittal"), "help": "how a volume is cut (default: axial)"},
    "--slice": {"type": int, "metavar": "N", "dest": "index", "help": "which slice (default: where the evidence is)"},
    "--slices": {"type": int, "metavar": "N", "help": "how many slices a montage has (default: 15)"},
    "--columns": {"type": int, "metavar": "N", "help": "pictures in a row"},
    "--channel": {"metavar": "NAME", "help": "channel of the image that is shown (default: the first)"},
    "--palette": {"metavar": "NAME", "dest": "colours", "help": "such as black_fire_red or viridis (see docs/figures)"},
    "--opacity": {"type": float, "metavar": "SHARE", "help": "opacity of a map over the image (default: 0.5)"},
    "--measure": {"metavar": "COLUMN", "help": "column of rows.jsonl (default: share_in_mask)"},
    "--test": {"choices": ("nemenyi", "wilcoxon_holm"), "help": "how methods are compared (default: wilcoxon_holm)"},
    "--title": {"metavar": "TEXT", "help": "what stands above the figure"},
}


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    kinds = "\n".join(f"  {name:14}{kind.words}" for name, kind in KINDS.items())
    parser.epilog, parser.formatter_class = EXAMPLE.format(kinds=kinds), argparse.RawDescriptionHelpFormatter
    parser.add_argument("run_folder", type=Path, metavar="DIR", help="run folder of voxplain explain")
    parser.add_argument("--kind", required=True, metavar="KIND", help="which figure: one of those below")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .png, .pdf or .svg to write")
    parser.add_argument(
        "--case", action="append", metavar="ID", help="which case; repeats for figures of several (default: the first)"
    )
    for flag, settings in OPTIONS.items():
        parser.add_argument(flag, **settings)


def run(chosen: argparse.Namespace) -> int:
    """Draw, write, and say where it is."""
    from voxplain.report.figure_kinds import draw_kind
    from voxplain.report.figures import check_suffix, save

    check_suffix(chosen.out)
    if not (chosen.run_folder / "plan.toml").exists():
        raise FileError(f"{chosen.run_folder.name!r} must be a run folder, got one without plan.toml")
    names = [settings.get("dest", flag.removeprefix("--")) for flag, settings in OPTIONS.items()]
    options = {name: getattr(chosen, name) for name in names}
    if chosen.case:
        options |= _cases(chosen.kind, chosen.case)
    print(f"figure: {save(draw_kind(chosen.run_folder, chosen.kind, **options), chosen.out)}")
    return 0


def _cases(kind: str, names: list[str]) -> dict[str, Any]:
    """The cases as the kind takes them: several, or one."""
    if kind in KINDS and "cases" in KINDS[kind].takes:
        return {"cases": names}
    if len(names) > 1:
        raise OptionError(f"kind {kind!r} shows one case, got {len(names)}")
    return {"case": names[0]}
