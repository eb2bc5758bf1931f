"""A whole run in a few lines: how much there is, what to be warned of, and what the scorecard is told."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voxplain.data.certificate import MODEL
from voxplain.report.cards import CaseCard
from voxplain.report.scorecard import Tally


@dataclass(frozen=True)
class Alert:
    """One line of the warnings on top."""

    label: str
    where: str
    text: str
    anchor: str = ""
    loud: bool = True


def counts(cases: Sequence[CaseCard]) -> str:
    """How many cases and maps there are, in words."""
    maps = [card for case in cases for card in case.maps]
    drawn = sum(card.picture is not None for card in maps)
    parts = [_plural(len(cases), "case"), _plural(drawn, "map")]
    parts += [f"{len(maps) - drawn} without a map"] if drawn < len(maps) else []
    left_out = sum(len(case.left_out) for case in cases)
    parts += [f"{left_out} left out"] if left_out else []
    return ", ".join(parts)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def alerts(cases: Sequence[CaseCard]) -> list[Alert]:
    """What a reader must know before anything else, the gravest first."""
    return [*_failures(cases), *_model_notices(cases), *_notices(cases)]


def _failures(cases: Sequence[CaseCard]) -> Iterator[Alert]:
    for case in cases:
        for card in case.maps:
            where = f"{case.identifier}: {card.method}"
            if card.problem:
                yield Alert("No map", where, card.problem, card.anchor)
            if card.failures:
                told = "; ".join(f"{check.name}: {check.sentence}" for check in card.failures)
                yield Alert("Check failed", where, told, card.anchor)


def _model_notices(cases: Sequence[CaseCard]) -> Iterator[Alert]:
    """What was noticed about the model, such as random weights: it holds for every map and every prediction."""
    checks = (check for case in cases for card in case.maps for check in card.checks if check.name == MODEL)
    for sentence in dict.fromkeys(check.sentence for check in checks):
        yield Alert("Model", "", sentence, loud=False)


def _notices(cases: Sequence[CaseCard]) -> Iterator[Alert]:
    """What was noticed while reading, once a sentence: the same notice on all cases is one line."""
    found: dict[str, list[CaseCard]] = {}
    for case in cases:
        for notice in case.notices:
            found.setdefault(notice, []).append(case)
    for notice, concerned in found.items():
        first, rest = concerned[0], len(concerned) - 1
        where = first.identifier + (f" and {_plural(rest, 'more case')}" if rest else "")
        yield Alert("Notice", where, notice, first.anchor, loud=False)


def tally(cases: Sequence[CaseCard]) -> Tally:
    """What the cards of a run add up to, for the scorecard."""
    cards = [card for case in cases for card in case.drawn]
    held = [(card.share, card.chance) for card in cards if card.share is not None and card.chance is not None]
    return Tally(
        cases=len(cases),
        maps=len(cards),
        targets=list(dict.fromkeys(card.target for card in cards)),
        with_mask=sum(case.has_mask for case in cases),
        with_anatomy=sum(bool(card.spot.anatomy) for card in cards),
        physical=sum(case.physical for case in cases),
        failed=sum(bool(card.failures) for card in cards),
        unchecked=sum(not card.checks for card in cards),
        checks=list(dict.fromkeys(check.name for card in cards for check in card.checks if check.outcome != "noted")),
        above_chance=sum(share > chance for share, chance in held),
        masked=len(held),
        costs=[(card.method, card.seconds) for card in cards if card.seconds is not None],
    )
