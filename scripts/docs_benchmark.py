"""Writes the tables of a finished benchmark into docs/benchmark.md: `docs_benchmark.py board/leaderboard.json`."""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voxplain.study.benchmark_words import finding_words, share_words, stability_words

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmark.md"

Table = Mapping[str, Any]


def main(arguments: list[str]) -> int:
    """Write every table between its markers; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("leaderboard", type=Path, help="leaderboard.json of a finished benchmark")
    result = json.loads(parser.parse_args(arguments).leaderboard.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in (("swap", swaps(result)), ("leaderboard", board(result)), ("words", words(result))):
        text = replaced(text, name, "\n".join(lines))
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE)
    return 0


def replaced(page: str, name: str, lines: str) -> str:
    """The page with the lines between `<!-- name -->` and `<!-- /name -->`."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must have {start.strip()!r} and {end!r} once each")
    return re.sub(f"{start}.*?{end}", lambda _: f"{start}{lines}\n{end}", page, flags=re.DOTALL)


def swaps(result: Table) -> Iterator[str]:
    """A line a phantom: what the swap test found on each seed's network."""
    yield from (
        "| phantom | class follows, of 40 heads | what else there is moves the score by | ranked |",
        "|---|---|---|---|",
    )
    for phantom in result["request"]["phantoms"]:
        own = [one for one in result["networks"] if one["phantom"] == phantom]
        follows, used = percents(own, "follows"), sum(one["used"] for one in own)
        yield f"| `{phantom}` | {follows} | {percents(own, 'other')} | {used} of {len(own)} |"


def percents(networks: list[Table], name: str) -> str:
    """A number of all seeds, in percent."""
    return ", ".join("–" if one[name] is None else f"{one[name]:.0%}" for one in networks)


def board(result: Table) -> Iterator[str]:
    """A line a method."""
    phantoms = result["ranked_phantoms"]
    yield f"| method | skill over all | mean rank | {' | '.join(phantoms)} |"
    yield "|---" * (3 + len(phantoms)) + "|"
    for row in result["standings"]:
        if row["phantoms"]:
            cells = (
                f"{row['phantoms'][name]['value'] + 0:.2f}" if name in row["phantoms"] else "–" for name in phantoms
            )
            yield f"| {title(row)} | {interval(row, 'skill', 'low', 'high', 2)} | {rank(row)} | {' | '.join(cells)} |"


def title(row: Table) -> str:
    """The method as code, what asks no network in brackets."""
    name = str(row["method"])
    return f"[{name}]" if row["control"] else f"`{name.partition('(of=')[0]}`"


def rank(row: Table) -> str:
    """The mean rank with its interval; empty without one."""
    return "" if row["mean_rank"] is None else interval(row, "mean_rank", "rank_low", "rank_high", 1)


def interval(row: Table, value: str, low: str, high: str, digits: int) -> str:
    """A number and its ends."""
    if row[value] is None:
        return "–"
    ends = "" if row[low] is None else f" ({row[low] + 0:.{digits}f} to {row[high] + 0:.{digits}f})"
    return f"{row[value] + 0:.{digits}f}{ends}"


def words(result: Table) -> Iterator[str]:
    """Stability, the published finding and shares as the command tells them."""
    yield "```"
    yield from stability_words(result["stability"])
    yield from finding_words(result["diffuse_finding"])
    for phantom in result["ranked_phantoms"]:
        yield from share_words(result["standings"], phantom)
    yield "```"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
