"""`voxplain study`: one of the five source studies from data to figures, or their list."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxplain.study.studies import StudyFolder

EXAMPLE = """examples:
  voxplain study
  voxplain study pumpkin --out studies/pumpkin
  voxplain study chest-view --data films/ --size paper --out studies/views
  voxplain study "pumpkin(growth_mode='eternal', n_samples=500)\""""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("study", metavar="NAME", nargs="?", help="a study, or a spec with its options; none lists them")
    parser.add_argument(
        "--size", choices=("small", "paper"), help="minutes on two cores (the default), or the source's own size"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data in the source's layout (default: phantoms)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: studies/ and a name from the request)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="equal seeds give equal results (default: the study's own)"
    )
    parser.add_argument("--device", help="auto, cpu, cuda, mps ... (default: auto)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(chosen: argparse.Namespace) -> int:
    """Run the study and draw its figures, or list the studies."""
    if chosen.study is None:
        return _list(chosen)
    from voxplain.cli.progress import shown
    from voxplain.report.studies import study

    given = {key: getattr(chosen, key) for key in ("size", "data", "seed", "device")}
    with shown() as (say, _):
        done = study(
            chosen.study, out=chosen.out, say=say, **{key: one for key, one in given.items() if one is not None}
        )
    _tell(chosen, done)
    return 0


def _list(chosen: argparse.Namespace) -> int:
    from voxplain.data.writing import json_text
    from voxplain.spec import schema
    from voxplain.study.studies import STUDIES, study_class

    found = [
        {"name": name, "title": cls.title, "options": schema(cls)}
        for name, cls in ((name, study_class(name)) for name in STUDIES)
    ]
    if chosen.json:
        print(json_text(found, indent=1))
        return 0
    print("\n".join(f"{one['name']:12} {one['title']}" for one in found))
    return 0


def _tell(chosen: argparse.Namespace, done: "StudyFolder") -> None:
    from voxplain.data.writing import json_text

    figures = sorted(str(path) for path in (done.path / "figures").rglob("*.png"))
    if chosen.json:
        document: dict[str, Any] = {"out": str(done.path), "reused": done.reused, "numbers": done.numbers}
        print(json_text({**document, "figures": figures}, indent=1))
        return
    for name, value, ends in flat(done.numbers):
        interval = f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else ""
        print(f"{name:56} {f'{value:.4g}' if isinstance(value, float) else value}{interval}")
    print(f"{'the same study lay there already' if done.reused else 'done'}: {done.path}")
    print(f"{len(figures)} figures: {done.path / 'figures'}")


def flat(numbers: dict[str, Any], front: str = "") -> list[tuple[str, Any, list[float] | None]]:
    """Single values by their path, such as 'test.accuracy', with their 95 % intervals; other lists are left out."""
    found: list[tuple[str, Any, list[float] | None]] = []
    ends = numbers.get("intervals") or {}
    for name, value in numbers.items():
        if isinstance(value, dict) and name != "intervals":
            found += flat(value, f"{front}{name}.")
        elif not isinstance(value, dict | list):
            found.append((f"{front}{name}", value, ends.get(name) or numbers.get(f"{name} 95 %")))
    return found
