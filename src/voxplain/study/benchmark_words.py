"""A leaderboard in words: what the terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FLIPS_SHOWN = 5
"""Pairs of methods whose order turns from seed to seed that are named; the leaderboard's file has all."""


def board_words(result: Mapping[str, Any]) -> list[str]:
    """The lines of a leaderboard: networks, methods, stability, and what becomes of the published finding."""
    return [
        *_networks(result["networks"]),
        "",
        f"skill: {result['skill']}; {result['interval']}",
        *_table(result["standings"], result["ranked_phantoms"]),
        *_refused(result["standings"]),
        "",
        *stability_words(result["stability"]),
        *finding_words(result["diffuse_finding"]),
    ]


def _networks(networks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "swap test: the feature is put in and taken out with everything else unchanged"
    for one in networks:
        ends = "" if one["low"] is None else f" ({one['low']:.2f} to {one['high']:.2f})"
        beside = "" if one["other"] is None else f", what else there is moves it by {one['other']:.0%} of that"
        told = (
            f"class follows in {one['follows']:.0%} of {one['heads']} heads, score rises by {one['effect']:.2f}{ends}"
        )
        verdict = f"; not ranked: {one['reason']}" if one["reason"] else ""
        yield f"  {one['phantom']}, seed {one['seed']}: {told}{beside}{verdict}"


def _table(standings: Sequence[Mapping[str, Any]], phantoms: Sequence[str]) -> Iterator[str]:
    if not standings:
        yield "no method is ranked: no network passed the swap test"
        return
    wide = max(len(_name(one)) for one in standings)
    yield "  ".join([f"{'':{wide}}", f"{'skill':>22}", f"{'rank':>6}", *(f"{name:>10}" for name in phantoms), "empty"])
    for one in standings:
        found = "–" if one["skill"] is None else f"{one['skill']:.3f}{_ends(one)}"
        rank = "" if one["mean_rank"] is None else f"{one['mean_rank']:.1f}"
        cells = (f"{_cell(one['phantoms'].get(name)):>10}" for name in phantoms)
        yield "  ".join([f"{_name(one):{wide}}", f"{found:>22}", f"{rank:>6}", *cells, f"{one['empty']:>5}"])


def _name(one: Mapping[str, Any]) -> str:
    return f"[{one['method']}]" if one["control"] else str(one["method"])


def _ends(one: Mapping[str, Any]) -> str:
    return "" if one["low"] is None else f" ({one['low']:.3f}, {one['high']:.3f})"


def _cell(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{found['value']:.2f}"


def _refused(standings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in standings:
        if one["refused"]:
            reason = next(iter(one["refused"].values()))
            yield f"{one['method']} cannot explain {', '.join(one['refused'])}: {reason}"


def stability_words(found: Mapping[str, Any]) -> Iterator[str]:
    """How alike the orders of the seeds are, in sentences."""
    if found["w"] is None:
        yield "order over seeds: not known, it takes two seeds and two methods"
        return
    tau = "–" if found["tau"] is None else f"{found['tau']:.2f}"
    flipped = found["flipped"]
    turned = f"{len(flipped)} of {found['pairs']} pairs of methods change their order"
    yield f"order over {len(found['seeds'])} seeds: Kendall's W {found['w']:.2f}, mean tau {tau}; {turned}"
    far = [f"{one} / {other}" for one, other in flipped[-FLIPS_SHOWN:]]
    if far:
        yield f"  furthest apart of these: {'; '.join(reversed(far))}"


def finding_words(found: Mapping[str, Any] | None) -> Iterator[str]:
    """What becomes of the published finding, in sentences."""
    if found is None:
        yield "SmoothGrad against Grad-CAM and LRP on diffuse signals: not asked, or the network was not ranked"
        return
    yield "SmoothGrad was published to localise diffuse signals better than Grad-CAM and LRP; here, in skill:"
    for one in found["pairs"]:
        ends = "" if one["low"] is None else f" ({one['low']:+.3f} to {one['high']:+.3f})"
        told = f"{one['first']} - {one['second']}: {one['difference']:+.3f}{ends}, p {one['p_holm']:.2g}"
        yield f"  {told}: {one['verdict']}"
