"""What pages beside the run's own one share: their templates, and figures that are written and shown."""

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from voxplain.data.writing import written_beside
from voxplain.report.facts import percent
from voxplain.report.figures import png

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A page loads nothing, runs nothing, and shows what it holds."""


@dataclass(frozen=True)
class Picture:
    """A figure of a page."""

    words: str
    """What it shows."""
    source: str
    """The data address of its pixels."""


def environment() -> Environment:
    """Templates that escape everything and refuse names that are not given."""
    made = Environment(
        loader=PackageLoader("voxplain.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["percent"] = percent
    made.globals["policy"] = POLICY
    return made


def pictured(folder: Path, below: str, name: str, figure: Figure, words: str) -> Picture:
    """Write a figure into `figures/<below>` of a run folder, and give it as the page shows it."""
    data = png(figure)
    with written_beside(folder / "figures" / below / f"{name}.png") as beside:
        beside.write_bytes(data)
    return Picture(words, f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}")
