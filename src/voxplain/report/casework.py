"""Cases and maps of a run made into cards: read, drawn, and put into words, one case in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.picture_names import figure_name, sheet_name
from voxplain.errors import FileError, VoxplainError
from voxplain.report import drawing, figures, sheet
from voxplain.report.atlas import Atlas
from voxplain.report.cards import CaseCard, MapCard, PredictionCard, SheetCard, Words
from voxplain.report.cautions import Shown, cautions
from voxplain.report.contents import CaseEntry, MapEntry, Run, Table, listing, mapping
from voxplain.report.display import Scale
from voxplain.report.evidence import apart, evidence
from voxplain.report.facts import Facts, case_facts, flatten, map_facts, plain, prediction_bars
from voxplain.report.measured import Measure
from voxplain.report.place import cells
from voxplain.report.scene import scene
from voxplain.report.sheet import Ground, Tile
from voxplain.report.words import Told, checked, probabilities, said, sure, where

MOST_NAMED = 100
"""Classes without a bar that are still told one by one."""

BROKEN = (VoxplainError, OSError, ValueError, TypeError, AttributeError)
"""What files that were edited by hand may raise; one broken map must not take the page with it."""


@dataclass(frozen=True)
class Desk:
    """What is needed to make the card of one case."""

    run: Run
    stock: drawing.Stock
    atlas: Atlas | None
    keeps_figures: bool
    """Whether every picture is drawn into `figures/`, too."""
    measures: Sequence[Measure] = ()
    problems: list[str] = field(default_factory=list)
    """Takes what could not be read once it was needed."""


def case_card(desk: Desk, case: CaseEntry, place: int) -> CaseCard:
    """Draw a case's maps and gather its words; `place` counts cases from 0."""
    anchor = f"case-{place + 1}"
    case = _readable(desk, case)
    on = None if case.image is None else sheet.ground(case.image, case.mask)
    tiles: dict[str, Tile] = {}
    maps = list(_map_cards(desk, case, on, place, tiles))
    label = plain(case.facts.get("label"))
    return CaseCard(
        anchor=anchor,
        identifier=case.identifier or "case without a name",
        label=label,
        prediction=prediction_card(mapping(case.facts.get("prediction"))),
        words=_words(case, maps, label),
        facts=case_facts(case),
        notices=[plain(notice) for notice in listing(case.facts.get("notices"))],
        maps=maps,
        flat=case.image is not None and case.image.grid.is_2d,
        physical=case.image is not None and case.image.grid.physical,
        has_mask=case.mask is not None,
        sheets=[] if on is None else _sheets(desk, case, on, maps, tiles, anchor),
        left_out=[(entry.text("method"), entry.problem) for entry in case.maps if entry.refused],
        measures=[one for one in desk.measures if one.case and one.case == case.identifier],
    )


def prediction_card(prediction: Table) -> PredictionCard:
    """What the page shows of a prediction."""
    bars, more = prediction_bars(prediction)
    barred, shares = {bar.name for bar in bars}, probabilities(prediction)
    rest = sorted((pair for pair in shares if pair[0] not in barred), key=lambda pair: -pair[1])
    return PredictionCard(plain(prediction.get("words")), shares, bars, more, rest[:MOST_NAMED] if more else [])


def _readable(desk: Desk, case: CaseEntry) -> CaseEntry:
    """The case with images whose voxels can be read, in copies of its own that go when its card is made."""
    image, mask = (_readable_image(desk, case, name) for name in ("image", "mask"))
    if image is not None and mask is not None and not mask.grid.same_as(image.grid):
        desk.problems.append(
            f"mask of case {case.identifier!r} is not shown: it must lie on the image's grid {image.grid.shape}, "
            f"got {mask.grid.shape} or another place"
        )
        mask = None
    return replace(case, image=image, mask=mask)


def _readable_image(desk: Desk, case: CaseEntry, name: str) -> Image | None:
    image: Image | None = getattr(case, name)
    own = None if image is None else replace(image)
    try:
        if own is not None:
            own.values  # noqa: B018  a file that is cut short shows only where its voxels are read
    except BROKEN as error:
        desk.problems.append(f"the {name} of case {case.identifier!r} cannot be shown: {error}")
        return None
    return own


def _map_cards(desk: Desk, case: CaseEntry, on: Ground | None, place: int, tiles: dict[str, Tile]) -> Iterator[MapCard]:
    """The cards of a case's maps; `tiles` takes their small pictures by anchor."""
    shown = 0
    for number, entry in enumerate(case.maps):
        if entry.refused:
            continue
        shown += 1
        anchor = f"case-{place + 1}-map-{shown}"
        bare = MapCard(anchor, entry.text("method") or "all methods", entry.text("target"), entry.text("model"))
        if entry.path is None:
            yield replace(bare, problem=entry.problem)
            continue
        try:
            attribution = entry.load(case.image)
            card, tile = _drawn(desk, case, on, entry, attribution)
        except BROKEN as error:
            yield replace(bare, problem=f"the map cannot be shown: {error}")
            continue
        if tile is not None:
            tiles[anchor] = tile
        yield replace(card, anchor=anchor, view=f"c{place}-m{number}", model=bare.model)


def _drawn(
    desk: Desk, case: CaseEntry, on: Ground | None, entry: MapEntry, attribution: Attribution
) -> tuple[MapCard, Tile | None]:
    """The card of a map that can be read, and its small picture where the case has an image."""
    ground, path = attribution.image, entry.path
    if ground is None or path is None:  # a map that was loaded has both
        raise FileError(entry.problem)
    inside = path.relative_to(desk.run.folder.resolve())
    if desk.keeps_figures:
        picture = figures.draw(ground, attribution, mask=case.mask)
        figures.save(picture, desk.run.folder / "figures" / figure_name(inside))
        shown = picture.scene
    else:
        shown = scene(ground, attribution, mask=case.mask)
    card = _told(entry, attribution, shown.scale)
    words = f"{card.method} for {card.target}, laid over the image. {' '.join(shown.caption)}"
    card = replace(
        card,
        picture=drawing.draw(shown, card.unit, words, desk.stock),
        caption=shown.caption,
        spot=evidence(attribution, shown, desk.atlas),
        file=inside.as_posix(),
        sheet=sheet_name(inside),
    )
    if on is None:
        return card, None
    tile = sheet.tile(on, attribution, shown.scale)
    small = drawing.draw_tile(tile.panel, shown.scale, f"{card.method} on this slice", desk.stock)
    return replace(card, tile=small), tile


def _told(entry: MapEntry, attribution: Attribution, scale: Scale) -> MapCard:
    """What a map's files and its colour scale tell about it."""
    seconds = attribution.provenance.record.get("seconds")
    unit = attribution.unit or attribution.quantity.value
    return MapCard(
        anchor="",
        method=attribution.method,
        target=attribution.target_words or attribution.target,
        model=entry.text("model"),
        facts=map_facts(entry, attribution),
        notes=attribution.notes,
        checks=attribution.certificate.checks,
        provenance=provenance(attribution),
        evidence=attribution.evidence,
        share=_share(entry.row.get("share_in_mask")),
        chance=_share(entry.row.get("mask_share")),
        quantity=attribution.quantity,
        unit=unit,
        raw=scale.raw,
        limits=scale.blank or f"{drawing.limits(scale)} {unit}",
        layer=attribution.layer,
        cells="" if attribution.coarse is None else cells(attribution.coarse.grid),
        doubt=scale.doubt,
        key=attribution.provenance.key,
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
    )


def _sheets(
    desk: Desk, case: CaseEntry, on: Ground, maps: Sequence[MapCard], tiles: dict[str, Tile], anchor: str
) -> list[SheetCard]:
    """The maps side by side, for each target that has several."""
    found: list[SheetCard] = []
    image = drawing.draw_tile(on.panel, None, "The image on this slice", desk.stock)
    for name in dict.fromkeys(card.sheet for card in maps if card.anchor in tiles):
        cards = [card for card in maps if card.sheet == name and card.anchor in tiles]
        if len(cards) < 2:
            continue
        if desk.keeps_figures:
            small = [tiles[card.anchor] for card in cards]
            picture = sheet.draw_sheet(on, small, f"{case.identifier}\n{cards[0].target}")
            figures.save(picture, desk.run.folder / "figures" / name)
        words = " ".join(
            [*on.words, "Every map has colour limits of its own, told below it: compare places, not colours."]
        )
        found.append(SheetCard(f"{anchor}-sheet-{len(found) + 1}", cards[0].target, image, cards, words))
    return found


def _words(case: CaseEntry, maps: Sequence[MapCard], label: str) -> Words:
    cards = [card for card in maps if card.picture is not None]
    told = [Told(card.method, card.spot, card.checks, card.share, card.chance) for card in cards]
    prediction = mapping(case.facts.get("prediction"))
    shown = [
        Shown(one, card.quantity, card.evidence == "absolute", card.layer, card.cells, card.doubt)
        for one, card in zip(told, cards, strict=True)
    ]
    gap = "" if case.image is None else apart([one.spot for one in told], case.image.grid)
    return Words(
        said(prediction, label), sure(prediction), where(told, gap), checked(told), cautions(shown, prediction, label)
    )


def provenance(attribution: Attribution) -> Facts:
    """Hashes, versions, seed, device and cost of a map, as recorded beside it."""
    story = attribution.provenance
    return [*flatten(story.request), *flatten(story.record), ("key", story.key)]


def _share(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None
