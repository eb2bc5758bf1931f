"""What the page shows of each case and each map: drawn, embedded, and put into words."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.certificate import Check
from voxplain.data.image import Image
from voxplain.data.picture_names import figure_name, sheet_name
from voxplain.data.writing import written_beside
from voxplain.errors import VoxplainError
from voxplain.report import figures, sheet
from voxplain.report.contents import CaseEntry, MapEntry, Run, listing, mapping
from voxplain.report.embed import Embedded, embed
from voxplain.report.facts import Bar, Facts, case_facts, flatten, map_facts, plain, prediction_bars
from voxplain.report.sheet import Ground, Tile
from voxplain.space.grid import Grid


@dataclass(frozen=True)
class MapCard:
    """One map, or why there is none."""

    anchor: str
    method: str
    target: str
    """What was explained, in words."""
    model: str
    problem: str = ""
    """Why there is no map; empty where there is one."""
    picture: Embedded | None = None
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
    tile: Tile | None = None
    """The map on the contact sheet."""
    sheet: str = ""
    """The file name of that sheet."""

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def verdict(self) -> str:
        """The checks in a few words."""
        counts = ((kind, sum(check.outcome == kind for check in self.checks)) for kind in ("failed", "passed", "noted"))
        return ", ".join(f"{count} {kind}" for kind, count in counts if count) or "none recorded"

    @property
    def alt(self) -> str:
        """The picture in words, for those who cannot see it."""
        return f"{self.method} for {self.target}, laid over the image. {' '.join(self.caption)}"


@dataclass(frozen=True)
class SheetCard:
    """The maps of one target side by side."""

    anchor: str
    target: str
    methods: Sequence[str]
    picture: Embedded

    @property
    def alt(self) -> str:
        """The picture in words, for those who cannot see it."""
        return f"The image and its maps of {self.target} on one slice: {', '.join(self.methods)}."


@dataclass(frozen=True)
class CaseCard:
    """One case with its maps."""

    anchor: str
    identifier: str
    label: str
    """The true label, '' where none is known."""
    answer: str
    """The prediction in words."""
    bars: Sequence[Bar]
    more: int
    """How many classes have no bar."""
    facts: Facts
    notices: Sequence[str]
    maps: Sequence[MapCard]
    flat: bool
    """Whether the pictures are 2D and may stand in pairs."""
    sheets: Sequence[SheetCard] = ()
    left_out: Sequence[tuple[str, str]] = ()
    """Methods that could not explain the case, and why."""

    @property
    def drawn(self) -> list[MapCard]:
        """The maps that have a picture."""
        return [card for card in self.maps if card.picture is not None]

    @property
    def chance(self) -> float | None:
        """Share of the image inside the mask, 0 to 1; None without a mask."""
        return next((card.chance for card in self.maps if card.chance is not None), None)


def case_card(run: Run, case: CaseEntry, place: int, pictures: int) -> CaseCard:
    """Draw a case's maps (into `figures/` too) and gather its words; the page holds so many `pictures` in all."""
    anchor = f"case-{place}"
    prediction = mapping(case.facts.get("prediction"))
    bars, more = prediction_bars(prediction)
    on = None if case.image is None else sheet.ground(case.image, _mask_on(case.image.grid, case.mask))
    entries = enumerate((entry for entry in case.maps if not entry.refused), start=1)
    maps = [_map_card(run, case, on, entry, f"{anchor}-map-{number}", pictures) for number, entry in entries]
    return CaseCard(
        anchor=anchor,
        identifier=case.identifier or "case without a name",
        label=plain(case.facts.get("label")),
        answer=plain(prediction.get("words")),
        bars=bars,
        more=more,
        facts=case_facts(case),
        notices=[plain(notice) for notice in listing(case.facts.get("notices"))],
        maps=maps,
        flat=case.image is not None and case.image.grid.is_2d,
        sheets=[] if on is None else _sheets(run, case, on, maps, anchor, pictures),
        left_out=[(entry.text("method"), entry.problem) for entry in case.maps if entry.refused],
    )


def _mask_on(grid: Grid, mask: Image | None) -> Image | None:
    """The mask where it lies on the image's grid: one that was edited by hand must not take the page with it."""
    return mask if mask is not None and mask.grid.same_as(grid) else None


def _sheets(
    run: Run, case: CaseEntry, on: Ground, maps: Sequence[MapCard], anchor: str, pictures: int
) -> list[SheetCard]:
    """A contact sheet for each target that has several maps."""
    drawn: list[SheetCard] = []
    for name in dict.fromkeys(card.sheet for card in maps if card.tile is not None):
        cards = [card for card in maps if card.sheet == name]
        tiles = [card.tile for card in cards if card.tile is not None]
        if len(tiles) > 1:
            picture = sheet.draw_sheet(on, tiles, f"{case.identifier}\n{cards[0].target}")
            embedded = embed(_kept(run, name, picture), picture.body, pictures, sheet=True)
            methods = [one.panel.name for one in tiles]
            drawn.append(SheetCard(f"{anchor}-sheet-{len(drawn) + 1}", cards[0].target, methods, embedded))
    return drawn


def _kept(run: Run, name: str, picture: figures.Picture) -> bytes:
    """The picture as PNG, kept in `figures/` under that name."""
    drawn = figures.png(picture)
    with written_beside(run.folder / "figures" / name) as beside:
        beside.write_bytes(drawn)
    return drawn


def _map_card(run: Run, case: CaseEntry, on: Ground | None, entry: MapEntry, anchor: str, pictures: int) -> MapCard:
    method, target = entry.text("method") or "all methods", entry.text("target")
    if entry.path is None or case.image is None or on is None:
        problem = entry.problem or "the image of this case cannot be shown, see the warnings"
        return MapCard(anchor, method, target, entry.text("model"), problem)
    try:
        attribution = entry.load(case.image)
        picture = figures.draw(case.image, attribution, mask=case.mask)
        tile = sheet.tile(on, attribution, picture.scene.scale)
    # Files of a run folder may have been edited by hand; one broken map must not take the page with it.
    except (VoxplainError, OSError, ValueError, TypeError, AttributeError) as error:
        return MapCard(anchor, method, target, entry.text("model"), f"the map cannot be shown: {error}")
    inside = entry.path.relative_to(run.folder.resolve())
    embedded = embed(_kept(run, figure_name(inside), picture), picture.body, pictures)
    card = _shown(entry, attribution, anchor, embedded, picture.scene.caption)
    return replace(card, tile=tile, sheet=sheet_name(inside))


def _shown(
    entry: MapEntry, attribution: Attribution, anchor: str, picture: Embedded, caption: tuple[str, ...]
) -> MapCard:
    return MapCard(
        anchor=anchor,
        method=attribution.method,
        target=attribution.target_words or attribution.target,
        model=entry.text("model"),
        picture=picture,
        caption=caption,
        facts=map_facts(entry, attribution),
        notes=attribution.notes,
        checks=attribution.certificate.checks,
        provenance=provenance(attribution),
        evidence=attribution.evidence,
        share=_share(entry.row.get("share_in_mask")),
        chance=_share(entry.row.get("mask_share")),
    )


def provenance(attribution: Attribution) -> Facts:
    """Hashes, versions, seed, device and cost of a map, as recorded beside it."""
    story = attribution.provenance
    return [*flatten(story.request), *flatten(story.record), ("key", story.key)]


def _share(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None
