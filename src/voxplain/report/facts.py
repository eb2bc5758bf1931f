"""The facts of a run as pairs of words for the page: nothing is computed here, only named and formatted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.report.contents import CaseEntry, MapEntry, Table, listing, mapping
from voxplain.report.display import number
from voxplain.report.place import cells
from voxplain.space.grid import Grid

Facts = list[tuple[str, str]]

MOST_CLASSES = 8
"""How many classes get a bar; a thousand bars would bury the answer."""

COSTS = {
    "calls": ("model call", "model calls"),
    "forwards": ("forward pass", "forward passes"),
    "backwards": ("backward pass", "backward passes"),
}
"""What a record may count, in words for one and for many."""

LONGEST = 300
"""Longer values are cut on the page; the JSON beside the map has them in full."""


@dataclass(frozen=True)
class Bar:
    """One class of a prediction."""

    name: str
    share: float
    """Its probability, 0 to 1."""
    predicted: bool


def case_facts(case: CaseEntry) -> Facts:
    """Size, voxel size, orientation and channels of a case; never its group, which may be a patient's number."""
    told, grid = case.facts, mapping(case.facts.get("grid"))
    pairs: Facts = [("True label", plain(told.get("label"))), ("Split", plain(told.get("split")))]
    pairs += _size(case.image.grid) if case.image is not None else []
    pairs.append(("Orientation", plain(grid.get("orientation")) if grid.get("unit") != "px" else ""))
    pairs += [("Channels", plain(told.get("channels"))), ("Intensities", plain(told.get("unit")))]
    return present(pairs)


def _size(grid: Grid) -> Facts:
    axes, noun = (2, "pixel") if grid.is_2d else (3, "voxel")
    size = " × ".join(str(count) for count in grid.shape[:axes])
    sides = " × ".join(number(side) for side in grid.spacing[:axes])
    return [
        ("Size", f"{size} {noun}s"),
        (f"{noun.capitalize()} size", f"{sides} {grid.unit}" if grid.physical else "unknown"),
    ]


def prediction_bars(prediction: Table) -> tuple[list[Bar], int]:
    """The likeliest classes, the predicted one among them, and how many are left out."""
    told = enumerate(listing(prediction.get("probabilities")))
    shares = {index: float(share) for index, share in told if isinstance(share, int | float)}
    names = [str(name) for name in listing(prediction.get("class_names"))]
    predicted = prediction.get("predicted")
    shown = sorted(shares, key=lambda index: -shares[index])[:MOST_CLASSES]
    if predicted in shares and predicted not in shown:
        shown = [*shown[:-1], predicted]
    order = sorted(shown) if len(shares) <= MOST_CLASSES else shown
    bars = [
        Bar(names[index] if index < len(names) else f"class {index}", shares[index], index == predicted)
        for index in order
    ]
    return bars, len(shares) - len(bars)


def map_facts(entry: MapEntry, attribution: Attribution) -> Facts:
    """Quantity, unit, raw range, layer and cost of a map, and the numbers its method gave along."""
    values = attribution.values
    coarse = attribution.coarse
    summed = attribution.quantity.adds_up and "sum_on_image" not in attribution.numbers
    pairs = [
        ("Quantity", attribution.quantity.value),
        ("Unit", attribution.unit),
        ("Raw range", f"{number(float(values.min()))} to {number(float(values.max()))}"),
        ("Sum", number(float(values.sum(dtype="float64"))) if summed else ""),
        ("Layer", attribution.layer),
        ("Made on", cells(coarse.grid) if coarse is not None else ""),
        ("Channels", ", ".join(attribution.channels) if attribution.channels != ("all",) else ""),
        *((str(key).replace("_", " ").capitalize(), plain(value)) for key, value in attribution.numbers.items()),
        ("Took", _cost(attribution.provenance.record)),
        ("File", entry.text("map")),
    ]
    return present(pairs)


def _cost(record: Mapping[str, Any]) -> str:
    seconds = record.get("seconds")
    questions = record.get("questions")
    shared = f" for {questions} maps asked together" if isinstance(questions, int) and questions > 1 else ""
    parts = [f"{number(float(seconds))} s{shared}"] if isinstance(seconds, int | float) else []
    for key, (one, many) in COSTS.items():
        count = record.get(key)
        parts += [f"{count} {one if count == 1 else many}"] if isinstance(count, int) else []
    return ", ".join(parts)


def percent(value: Any) -> str:
    """A share as percent, '' where there is none."""
    return f"{100 * value:.1f} %" if isinstance(value, int | float) and value == value else ""


def flatten(table: Table, prefix: str = "") -> Facts:
    """A nested JSON object as dotted names and plain values."""
    pairs: Facts = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        pairs += flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, plain(value))]
    return present(pairs)


def in_common(tables: Iterable[Facts]) -> Facts:
    """The pairs that every one of several lists of facts holds, in the order of the first."""
    lists = list(tables)
    rest = [set(facts) for facts in lists[1:]]
    return [pair for pair in lists[0] if all(pair in facts for facts in rest)] if lists else []


def plain(value: Any) -> str:
    """A JSON value in words: lists by commas, numbers short, nothing as ''."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return plain(", ".join(plain(item) for item in value))
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def present(pairs: Iterable[tuple[str, str]]) -> Facts:
    """The pairs that have a value."""
    return [(name, value) for name, value in pairs if value]
