"""Writes docs/performance.md from the kept results of the benchmark; `--check` only says whether it is up to date."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.table import LEGEND, tables  # noqa: E402 - found by the line before

PAGE, RESULTS = ROOT / "docs" / "performance.md", ROOT / "bench" / "results"
INTRODUCTION = f"""# Performance

Written by `make docs` from `bench/results`, which `make bench` measures: one file a kind of machine, the latest of each
row. Voxplain, the libraries one would otherwise take and bare torch take turns on the same work, so that a machine that
slows down slows all of them.

```
make bench                                            # the rows without --full; about an hour on two cores
make bench BENCH_ARGS="--rows grad_cam --repeats 3"   # some rows
make bench BENCH_ARGS=--full                          # all positions, samples and steps; some hours
make bench BENCH_ARGS=--list                          # what there is
python -m bench.scans                                 # memory of gradients and CAMs on a scan of full size (models.md)
python -m bench.figures; python -m bench.report       # figures and pages (figures.md, report.md)
```

A CUDA device adds its rows by the same command. A library that is not installed says so in its cell;
`pip install 'voxplain[bench]'` brings them all. Long rows do a fixed part of their positions or samples, the same for
all. Networks have random weights of the usual size: speed does not depend on what they have learned. Every library gets
the network as its users have it, in evaluation mode, and the best of the settings that were tried.

{LEGEND}"""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; the exit code."""
    text = page()
    if "--check" in arguments:
        fresh = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        told = "docs/performance.md must match bench/results; run python scripts/docs_performance.py"
        print("performance page: up to date" if fresh else told)
        return 0 if fresh else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """The whole page."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([INTRODUCTION, *(f"## {one['machine']}\n\n{tables(one)}" for one in kept)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
