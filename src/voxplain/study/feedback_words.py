"""What readers said, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voxplain.errors import shortened
from voxplain.study.evaluate_words import beside_words, test_words

MOST_MISSING = 4
"""Answers that are missing are named up to so many a reader."""

Table = Mapping[str, Any]


def missing_words(missing: Mapping[str, Sequence[str]]) -> list[str]:
    """For each reader what was not answered."""
    return [
        f"reader {reader!r} left {len(own)} unanswered: {shortened(own, MOST_MISSING)}"
        for reader, own in missing.items()
        if own
    ]


def summary_words(found: Table) -> list[str]:
    """Every item with its methods, agreement of readers, readings before and after, the sham map and the scale."""
    lines = [f"{size_words(found)}; {found['interval']}."]
    for item in found["items"]:
        lines += ["", f"{item['item']}: {item['words']} ({item['better']} is better)"]
        lines += [f"  {_name(one)}: {estimate_words(one)}, n = {one['n']}" for one in item["means"]]
        lines += [f"  {line}" for line in item_words(item)]
    lines += ["", "agreement of readers", *(f"  {line}" for line in agreement_words(found))]
    lines += ["", "readings", *(f"  {reading_words(one)}" for one in found["readings"])]
    return [*lines, *_closing(found)]


def size_words(found: Table) -> str:
    """'3 readers, 12 cases of 4 patients'."""
    return f"{_count(len(found['readers']), 'reader')}, {_count(found['cases'], 'case')} of " + _count(
        found["patients"], "patient"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _name(one: Table) -> str:
    return f"{one['method']} (sham)" if one["sham"] else str(one["method"])


def estimate_words(one: Table | None, digits: int = 2, factor: float = 1.0) -> str:
    """'3.91 (3.20 to 4.45)', that there is no interval, or that there is no number."""
    if one is None:
        return "not defined (too few, or all alike)"
    value, ends = (factor * one["value"], [one["low"], one["high"]])
    if None in ends:
        return f"{value:.{digits}f} (no interval: too few to draw from)"
    low, high = (factor * end for end in ends)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def item_words(item: Table) -> list[str]:
    """What the tests of an item say: between methods, and of each against the sham map."""
    group = {**item, "metric": item["item"], "against_controls": item["against_sham"]}
    return [line for line in (test_words(group), *beside_words(group)) if line]


def agreement_words(found: Table) -> Iterator[str]:
    """A line an item, one for each round of readings, or that a single reader agrees with nobody."""
    readers = len(found["readers"])
    if readers < 2:
        yield "one reader only: nothing can be said about agreement between readers"
        return
    for one in found["agreement"]:
        if not one["units"]:
            yield f"{one['item']}: no map was rated by two readers"
            continue
        yield (
            f"{one['item']}: alpha {estimate_words(one['alpha'])}, ICC(2,1) {estimate_words(one['icc_single'])}, "
            f"ICC(2,{readers}) {estimate_words(one['icc_mean'])}; {one['units']} maps, {one['whole']} rated by all"
        )
    for one in found["kappas"]:
        yield f"readings {one['when']}: Fleiss' kappa {estimate_words(one['kappa'])}, {_count(one['cases'], 'case')}"


def reading_words(one: Table) -> str:
    """'readings changed after the maps: 12 % (5 % to 20 %), n = 24'."""
    told = f"{estimate_words(one, 0, 100)} %" if one["share"] else estimate_words(one, 1)
    return f"{one['words']}: {told}, n = {one['n']}"


def attention_words(one: Table) -> str:
    """How one reader rated the sham map beside the real ones."""
    told = "told it apart" if one["told_apart"] else "did not tell it apart: look at these answers with care"
    return f"{one['reader']}: sham {one['sham']:.2f}, real maps {one['real']:.2f}: {told}"


def _closing(found: Table) -> Iterator[str]:
    if found["attention"]:
        yield from ("", "sham map against real ones (plausibility of location)")
        yield from (f"  {attention_words(one)}" for one in found["attention"])
    if found["causability"]:
        yield from ("", "System Causability Scale, 0.2 to 1")
        yield from (f"  {one['reader']}: {one['score']:.2f}" for one in found["causability"])
