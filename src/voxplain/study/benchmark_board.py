"""The leaderboard: how near methods come to the ground truth, over phantoms, with intervals, ranks and their stability.

Kendall and Babington Smith, The problem of m rankings, Annals of Mathematical Statistics 10 (1939), for W.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from voxplain.study.benchmark_rows import METRICS, REFUSED, SHARES
from voxplain.study.rows import Row
from voxplain.study.statistics import Floats, complete, mean, ranked
from voxplain.study.statistics_disagreement import kendall
from voxplain.training.intervals import intervals, ratio

NO_RANK = {"mean_rank": None, "rank_low": None, "rank_high": None}
"""Of a map beside the methods, and of a method without a skill on every phantom."""


@dataclass
class Scored:
    """What one method, or a map beside the methods, got."""

    control: bool = False
    skills: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    """Phantom and seed -> head -> skill."""
    values: dict[str, list[float]] = field(default_factory=dict)
    """Metric -> the numbers themselves of all heads."""
    shares: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Phantom -> share of the map's size in the feature, and in what else there is -> the numbers of its heads."""
    empty: int = 0
    """Heads whose map shows nothing that counts as evidence."""
    failed: int = 0
    seconds: list[float] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Phantom -> why the method cannot explain it, or some heads of it."""
    refused_heads: dict[str, set[str]] = field(default_factory=dict)

    def of(self, phantom: str, seed: int | None = None) -> dict[str, float]:
        """Head -> skill on a phantom, of all seeds or of one."""
        own = [heads for (name, at), heads in self.skills.items() if name == phantom and seed in (None, at)]
        return {head: skill for heads in own for head, skill in heads.items()}


def scored(rows: Iterable[Row]) -> dict[str, Scored]:
    """What every method got, by its spec.

    A metric's number counts as its share of the way from chance to the ground truth: 0 is chance, 1 the ground truth,
    below 0 worse than chance. The skill of a map is the mean over metrics; a map without evidence points nowhere and
    gets chance. Rows that failed count as missing, those of a refused method not at all.
    """
    found: dict[str, Scored] = defaultdict(Scored)
    parts: dict[tuple[str, str, int, str], list[float]] = defaultdict(list)
    for row in rows:
        one = found[str(row["method"])]
        one.control = bool(row["control"])
        if row.get(REFUSED):
            one.refused[str(row["phantom"])] = str(row["reason"])
            one.refused_heads.setdefault(str(row["phantom"]), set()).add(str(row["case"]))
        elif row["metric"] in SHARES:
            _add_share(one, row)
        elif row["status"] == "failed" and row["value"] is None and not shows_nothing(row):
            one.failed += 1
        else:
            _add_number(one, row)
            parts[str(row["method"]), str(row["phantom"]), int(row["seed"]), str(row["case"])].append(_share(row))
    for (name, phantom, seed, case), shares in parts.items():
        if len(shares) == len(METRICS):
            found[name].skills.setdefault((phantom, seed), {})[case] = float(np.mean(shares))
    return dict(found)


def _add_share(one: Scored, row: Row) -> None:
    if row["value"] is not None:
        shares = one.shares.setdefault(str(row["phantom"]), {})
        shares.setdefault(str(row["metric"]), []).append(float(row["value"]))


def _add_number(one: Scored, row: Row) -> None:
    first = row["metric"] == METRICS[0]
    one.empty += row["value"] is None and first
    if row["value"] is not None:
        one.values.setdefault(str(row["metric"]), []).append(float(row["value"]))
    if row.get("map_seconds") is not None and first:
        one.seconds.append(float(row["map_seconds"]))


def shows_nothing(row: Row) -> bool:
    """Whether a row has no number because the map has no evidence anywhere."""
    return "no values but 0" in str(row["reason"]) or "no positive values" in str(row["reason"])


def _share(row: Row) -> float:
    """How far the number lies on the way from chance (0) to 1; that of a map without evidence is chance."""
    if row["value"] is None:
        return 0.0
    chance = float(row["chance"])
    return (float(row["value"]) - chance) / (1 - chance)


def standings(found: Mapping[str, Scored], phantoms: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each method and map beside, the best first: skill over all phantoms, by phantom, and by metric.

    Methods that lack a phantom have no skill over all and stand behind.
    """
    places = mean_ranks(found, phantoms)
    rows = [{**_standing(name, one, phantoms), **places.get(name, NO_RANK)} for name, one in found.items()]
    return sorted(rows, key=lambda row: (row["skill"] is None, -(row["skill"] or 0.0)))


def _standing(name: str, one: Scored, phantoms: Sequence[str]) -> dict[str, Any]:
    value, low, high = overall(one, phantoms)
    return {
        "method": name,
        "control": one.control,
        "skill": value,
        "low": low,
        "high": high,
        "phantoms": {phantom: mean(own).to_table() for phantom in phantoms if (own := one.of(phantom))},
        "metrics": {metric: float(np.mean(values)) for metric, values in one.values.items()},
        "shares": {phantom: {share: float(np.mean(own)) for share, own in shares.items()}
                   for phantom, shares in one.shares.items()},
        "heads": sum(len(heads) for heads in one.skills.values()),
        "empty": one.empty,
        "failed": one.failed,
        "seconds": float(np.median(one.seconds)) if one.seconds else None,
        "refused": dict(one.refused),
        "refused_heads": {phantom: len(heads) for phantom, heads in one.refused_heads.items()},
    }  # fmt: skip


def overall(
    one: Scored, phantoms: Sequence[str], seed: int | None = None
) -> tuple[float | None, float | None, float | None]:
    """The mean over phantoms of the mean skill over heads, with its 95 % interval by the bootstrap over heads.

    All None for a method that lacks one of the phantoms.
    """
    heads = [one.of(phantom, seed) for phantom in phantoms]
    if not heads or not all(heads):
        return None, None, None
    sums = np.zeros((sum(map(len, heads)), len(heads), 2))
    start = 0
    for place, own in enumerate(heads):
        sums[start : start + len(own), place, 0] = [own[head] for head in sorted(own)]
        sums[start : start + len(own), place, 1] = 1
        start += len(own)
    ends = intervals(sums, lambda drawn: {"skill": _balanced(drawn)}, seed=0)["intervals"].get("skill")
    low, high = ends or (None, None)
    return float(_balanced(sums.sum(axis=0))), low, high


def _balanced(sums: Floats) -> Floats:
    """The mean over phantoms (..., phantom, 2) of sum over count; a phantom that a replicate lacks makes it NaN."""
    means: Floats = ratio(sums[..., 0], sums[..., 1], np.nan).mean(axis=-1)
    return means


def contestants(found: Mapping[str, Scored], phantoms: Sequence[str]) -> list[str]:
    """The methods that have a skill on every phantom."""
    return [name for name, one in found.items() if not one.control and all(one.of(phantom) for phantom in phantoms)]


def board_ranking(found: Mapping[str, Scored], phantoms: Sequence[str]) -> Any:
    """Methods ranked within each head over all phantoms, as `study.ranking` ranks; None for fewer than two."""
    return ranked(_by_head(found, phantoms), "higher")


def mean_ranks(found: Mapping[str, Scored], phantoms: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Method -> its mean rank over heads, 1 for one that is best in every head, with the ends of its 95 % interval.

    The interval is by the bootstrap over heads; empty where fewer than two methods or heads are ranked.
    """
    names, table = complete(_by_head(found, phantoms))
    if len(names) < 2 or len(table) < 2:
        return {}
    ranks = np.stack([rankdata(-row) for row in table])
    ends = intervals(ranks, lambda sums: dict(zip(names, sums.T / len(ranks), strict=True)), seed=0)["intervals"]
    means = ranks.mean(axis=0)
    return {
        name: {"mean_rank": float(at), "rank_low": ends[name][0], "rank_high": ends[name][1]}
        for name, at in zip(names, means, strict=True)
    }


def _by_head(found: Mapping[str, Scored], phantoms: Sequence[str]) -> dict[str, dict[str, float]]:
    """Method -> head -> skill, of the methods that have one on every phantom; equal to rounding is tied."""
    names = contestants(found, phantoms)
    heads = {name: {head: s for phantom in phantoms for head, s in found[name].of(phantom).items()} for name in names}
    return {name: {head: round(value, 12) for head, value in own.items()} for name, own in heads.items()}


@dataclass(frozen=True)
class Stability:
    """How alike the orders of methods are from seed to seed."""

    seeds: tuple[int, ...]
    phantoms: tuple[str, ...]
    """Those whose networks are ranked in every seed."""
    methods: int
    w: float | None
    """Kendall's coefficient of concordance: 1 for equal orders, 0 for none in common."""
    tau: float | None
    """Mean of Kendall's tau over pairs of seeds."""
    flipped: tuple[tuple[str, str], ...]
    """Pairs of methods that do not have the same order in all seeds, neighbours in the whole order first."""
    pairs: int

    def to_table(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def stability(found: Mapping[str, Scored], phantoms: Sequence[str], seeds: Sequence[int]) -> Stability:
    """The orders by skill of each seed held against each other; no numbers for a single seed or method."""
    everyone = [one for one in found.values() if not one.control]
    common = tuple(p for p in phantoms if all(any(one.of(p, seed) for one in everyone) for seed in seeds))
    names = contestants(found, common) if common else []
    table = np.array([[overall(found[name], common, seed)[0] for name in names] for seed in seeds], dtype=np.float64)
    if len(seeds) < 2 or len(names) < 2:
        return Stability(tuple(seeds), common, len(names), None, None, (), 0)
    ranks = np.stack([rankdata(-row) for row in table])
    taus = [float(kendall(ranks[list(pair)])) for pair in combinations(range(len(seeds)), 2)]
    tau = float(np.mean(taus)) if np.isfinite(taus).all() else None
    flipped = tuple((names[a], names[b]) for a, b in _flips(table))
    count = len(names) * (len(names) - 1) // 2
    return Stability(tuple(seeds), common, len(names), concordance(ranks), tau, flipped, count)


def concordance(ranks: Floats) -> float | None:
    """Kendall's W of ranks (judge, item), corrected for ties; None where every judge ties all items."""
    judges, items = ranks.shape
    sums = ranks.sum(axis=0)
    apart = float(((sums - sums.mean()) ** 2).sum())
    ties = sum(float((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    most = judges**2 * (items**3 - items) - judges * ties
    return 12 * apart / most if most > 0 else None


def _flips(table: Floats) -> list[tuple[int, int]]:
    """Pairs (better by the mean, worse) whose order is turned in some seed of (seed, method); nearest pairs first."""
    means = table.mean(axis=0)
    order = np.argsort(-means, kind="stable")
    pairs = [(int(a), int(b)) for a, b in combinations(order, 2) if bool((table[:, a] < table[:, b]).any())]
    return sorted(pairs, key=lambda pair: float(means[pair[0]] - means[pair[1]]))
