"""Draws the golden pictures of tests/golden again; --time says how long each figure takes, and draws nothing.

Look at every picture that changes before it is committed: the tests hold future figures against it.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from tests.golden.compare import PICTURES, TOLERANCE, WORDS, difference, rendered, stored
from tests.golden.drawn import FIGURES
from voxplain.report.figures import png

MOST_SECONDS = 1.0
"""What a figure may take."""


def main() -> int:
    """Draw all pictures or those named; 1 where a figure took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="names (default: all)")
    parser.add_argument("--time", action="store_true", help="only measure: a figure may take at most one second")
    chosen = parser.parse_args()
    names = chosen.figures or list(FIGURES)
    return timed(names) if chosen.time else draw(names)


def draw(names: list[str]) -> int:
    """Write pictures that differ from the stored ones, and the words of all."""
    PICTURES.mkdir(exist_ok=True)
    said = json.loads(WORDS.read_text("utf-8")) if WORDS.is_file() else {}
    for name in names:
        figure = FIGURES[name]()
        pixels, said[name] = rendered(figure)
        file = PICTURES / f"{name}.png"
        if file.is_file() and difference(stored(name), pixels) < TOLERANCE / 4:
            continue
        Image.fromarray(pixels).save(file, optimize=True)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")
    lines = [f"{json.dumps(name)}: {json.dumps(said[name], ensure_ascii=False)}" for name in FIGURES if name in said]
    WORDS.write_text("{" + ",\n".join(lines) + "}\n", "utf-8")
    for file in PICTURES.glob("*.png"):
        if file.stem not in FIGURES:
            file.unlink()
    print(f"together {sum(file.stat().st_size for file in PICTURES.glob('*.png')) / 1e6:.2f} MB")
    return 0


def timed(names: list[str]) -> int:
    """Say how much processor time each figure takes, from arrays to PNG bytes: the best of three after a first one."""
    png(FIGURES["planes"]())
    slow = 0
    for name in names:
        best = min(_seconds(name) for _ in range(3))
        slow += best > MOST_SECONDS
        print(f"{name:20} {best:.2f} s{'   TOO SLOW' * (best > MOST_SECONDS)}")
    return int(slow > 0)


def _seconds(name: str) -> float:
    start = time.process_time()
    png(FIGURES[name]())
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
