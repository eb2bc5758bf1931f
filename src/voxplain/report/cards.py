"""What the page shows of each case and each map: drawn, embedded, and put into words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.certificate import Check
from voxplain.data.writing import written_beside
from voxplain.errors import VoxplainError
from voxplain.report import figures
from voxplain.report.contents import CaseEntry, MapEntry, Run, listing, mapping
from voxplain.report.embed import Embedded, embed
from voxplain.report.facts import Bar, Facts, case_facts, flatten, map_facts, plain, prediction_bars


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
    return CaseCard(
        anchor=anchor,
        identifier=case.identifier or "case without a name",
        label=plain(case.facts.get("label")),
        answer=plain(prediction.get("words")),
        bars=bars,
        more=more,
        facts=case_facts(case),
        notices=[plain(notice) for notice in listing(case.facts.get("notices"))],
        maps=[
            _map_card(run, case, entry, f"{anchor}-map-{number}", pictures)
            for number, entry in enumerate(case.maps, start=1)
        ],
        flat=case.image is not None and case.image.grid.is_2d,
    )


def _map_card(run: Run, case: CaseEntry, entry: MapEntry, anchor: str, pictures: int) -> MapCard:
    method, target = entry.text("method") or "all methods", entry.text("target")
    if entry.path is None or case.image is None:
        problem = entry.problem or "the image of this case cannot be shown, see the warnings"
        return MapCard(anchor, method, target, entry.text("model"), problem)
    try:
        attribution = entry.load(case.image)
        picture = figures.draw(case.image, attribution, mask=case.mask)
        drawn = figures.png(picture)
    # Files of a run folder may have been edited by hand; one broken map must not take the page with it.
    except (VoxplainError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"its JSON file has no entry {error}" if isinstance(error, KeyError) else str(error)
        return MapCard(anchor, method, target, entry.text("model"), f"the map cannot be shown: {why}")
    with written_beside(run.folder / "figures" / figure_name(run.folder, entry.path)) as beside:
        beside.write_bytes(drawn)
    embedded = embed(drawn, picture.body, pictures)
    return _shown(entry, attribution, anchor, embedded, picture.scene.caption)


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


def figure_name(folder: Path, path: Path) -> str:
    """The picture's file name: the map's place below `maps/` with dashes, without its endings."""
    inside = path.relative_to(folder.resolve()).parts
    parts = inside[1:] if inside[0] == "maps" else inside
    return "-".join(parts).removesuffix(".gz").removesuffix(".nii") + ".png"


def _share(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None
