"""Joins the fragments of changelog.d into CHANGELOG.md: `changelog.py check`, `draft`, or `release VERSION DATE`.

A fragment is named `<what>.<kind>.md`, one change each, and holds one or two sentences for users.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"
KINDS = ("added", "changed", "fixed", "removed", "security")
MARK = "<!-- releases -->\n"


def fragments() -> list[Path]:
    """All fragments, by name."""
    return sorted(path for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md")


def complaints() -> list[str]:
    """A sentence for each fragment that cannot be joined."""
    found = []
    for path in fragments():
        parts = path.name.split(".")
        if len(parts) != 3 or parts[1] not in KINDS:
            found.append(f"{path.name}: a fragment must be named <what>.<{'|'.join(KINDS)}>.md")
        elif not path.read_text(encoding="utf-8").strip():
            found.append(f"{path.name}: a fragment must hold a sentence, got nothing")
    return found


def joined(title: str) -> str:
    """The fragments under one heading a kind."""
    parts = [f"## {title}\n"]
    for kind in KINDS:
        chosen = [path for path in fragments() if f".{kind}." in path.name]
        sentences = [" ".join(path.read_text(encoding="utf-8").split()) for path in chosen]
        if sentences:
            parts.append(f"### {kind.capitalize()}\n\n" + "".join(f"- {sentence}\n" for sentence in sentences))
    return "\n".join(parts)


def release(version: str, date: str) -> None:
    """Write the fragments into CHANGELOG.md under `version` and delete them."""
    before, mark, after = CHANGELOG.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"CHANGELOG.md must hold the line {MARK.strip()!r}")
    CHANGELOG.write_text(f"{before}{mark}\n{joined(f'{version} ({date})')}{after}", encoding="utf-8")
    for path in fragments():
        path.unlink()


def main(arguments: list[str]) -> int:
    """Run one of the three verbs; the exit code."""
    problems = complaints()
    if problems:
        print("\n".join(problems))
        return 1
    match arguments:
        case ["check"]:
            print(f"changelog: {len(fragments())} fragments are fine")
        case ["draft"]:
            print(joined("Unreleased"))
        case ["release", version, date]:
            release(version, date)
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
