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
        *(line for phantom in result["ranked_phantoms"] for line in share_words(result["standings"], phantom)),
    ]


def _networks(networks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "swap test: the feature is put in and taken out with everything else unchanged"
    for one in networks:
        yield f"  {one['phantom']}, seed {one['seed']}: {network_words(one)}"


def network_words(one: Mapping[str, Any]) -> str:
    """What the swap test of a network found, in a line."""
    ends = "" if one["low"] is None else f" ({one['low']:.2f} to {one['high']:.2f})"
    told = f"class follows in {one['follows']:.0%} of {one['heads']} heads, score rises by {one['effect']:.2f}{ends}"
    beside = "" if one["other"] is None else f", what else there is moves it by {one['other']:.0%} of that"
    verdict = f"; not ranked: {one['reason']}" if one["reason"] else ""
    return f"{told}{beside}{verdict}"


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
            yield refused_words(one)


def refused_words(one: Mapping[str, Any]) -> str:
    """What a method cannot explain, whole phantoms or heads of them, and the first reason."""
    heads = one["refused_heads"]
    told = (f"{name} ({heads[name]} of its heads)" if name in one["phantoms"] else name for name in one["refused"])
    return f"{one['method']} cannot explain {', '.join(told)}: {next(iter(one['refused'].values()))}"


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


def share_words(standings: Sequence[Mapping[str, Any]], phantom: str) -> Iterator[str]:
    """How much of the methods' maps lies beside the feature, in what else a phantom's heads hold; in a sentence."""
    shares = {
        str(one["method"]).partition("(of=")[0]: one["shares"][phantom]["share_beside"]
        for one in standings
        if "share_beside" in one["shares"].get(phantom, {})
    }
    random = shares.get("random_map")
    methods = {str(one["method"]).partition("(of=")[0] for one in standings if not one["control"]} & set(shares)
    if methods:
        least, most = min(methods, key=lambda name: (shares[name], name)), max(methods, key=lambda name: shares[name])
        ends = f"from {shares[least]:.0%} ({least}) to {shares[most]:.0%} ({most})"
        chance = "" if random is None else f"; of a random map {random:.0%}"
        yield f"{phantom}: of a map's size, whatever its sign, what else there is holds {ends}{chance}"
