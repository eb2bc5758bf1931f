"""What the page shows of each case and each map: drawn, embedded, and put into words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from voxplain.data.certificate import Check
from voxplain.report.evidence import Evidence
from voxplain.report.facts import Bar, Facts
from voxplain.report.measured import Measure
from voxplain.types import Quantity


@dataclass(frozen=True)
class MapCard:
    """One map, or why there is none."""

    anchor: str
    method: str
    target: str
    """What was explained, in words."""
    model: str
    view: str = ""
    """The map's name in the interactive images."""
    problem: str = ""
    """Why there is no map; empty where there is one."""
    picture: Markup | None = None
    caption: tuple[str, ...] = ()
    facts: Facts = field(default_factory=list)
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    provenance: Facts = field(default_factory=list)
    evidence: str = "positive"
    """Which values the share counts: positive ones, or all by their absolute size."""
    share: float | None = None
    """Share of the map's evidence inside the mask, 0 to 1."""
    chance: float | None = None
    """Share of the image inside the mask, 0 to 1."""
    spot: Evidence = field(default_factory=Evidence)
    """Where the map is strongest."""
    quantity: Quantity = Quantity.SALIENCY
    unit: str = ""
    raw: tuple[float, float] = (0.0, 0.0)
    """Smallest and largest value."""
    limits: str = ""
    """Colour limits and unit, for the picture among the others."""
    layer: str = ""
    cells: str = ""
    """How coarse the map is; '' where it is as fine as the image."""
    doubt: str = ""
    """Why it may be noise; '' where nothing says so."""
    file: str = ""
    """The map's place in the run folder."""
    key: str = ""
    """The hash of the request that made it."""
    seconds: float | None = None
    tile: Markup | None = None
    """The map as small as it is beside the others."""
    sheet: str = ""
    """The file name of the contact sheet it is on."""

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def verdict(self) -> str:
        """The checks in a few words."""
        counts = ((kind, sum(check.outcome == kind for check in self.checks)) for kind in ("failed", "passed", "noted"))
        return ", ".join(f"{count} {kind}" for kind, count in counts if count) or "none recorded"


@dataclass(frozen=True)
class SheetCard:
    """The maps of one target side by side, the image first."""

    anchor: str
    target: str
    image: Markup
    maps: Sequence[MapCard]
    words: str
    """Which slice is shown, and how to read it."""


@dataclass(frozen=True)
class Words:
    """A case in plain words."""

    said: Sequence[str]
    sure: Sequence[str]
    where: Sequence[str]
    checked: Sequence[str]
    cautions: Sequence[str]


@dataclass(frozen=True)
class PredictionCard:
    """What the model said of a case."""

    answer: str
    """In words, '' where no prediction was stored."""
    probabilities: Sequence[tuple[str, float]]
    """Every class, in the model's order; none for other tasks."""
    bars: Sequence[Bar]
    more: int
    """How many classes have no bar."""
    rest: Sequence[tuple[str, float]]
    """The likeliest of those."""


@dataclass(frozen=True)
class CaseCard:
    """One case with its maps."""

    anchor: str
    identifier: str
    label: str
    """The true label, '' where none is known."""
    prediction: PredictionCard
    words: Words
    facts: Facts
    notices: Sequence[str]
    maps: Sequence[MapCard]
    flat: bool
    """Whether the pictures are 2D and may stand in pairs."""
    physical: bool
    """Whether the image is in millimetres."""
    has_mask: bool
    sheets: Sequence[SheetCard] = ()
    left_out: Sequence[tuple[str, str]] = ()
    """Methods that could not explain the case, and why."""
    measures: Sequence[Measure] = ()

    @property
    def drawn(self) -> list[MapCard]:
        """The maps that have a picture."""
        return [card for card in self.maps if card.picture is not None]

    @property
    def chance(self) -> float | None:
        """Share of the image inside the mask, 0 to 1; None without a mask."""
        return next((card.chance for card in self.maps if card.chance is not None), None)
