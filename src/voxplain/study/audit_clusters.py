"""Strategies of a model as clusters of its maps: spectral relevance clustering.

Lapuschkin, Wäldchen, Binder, Montavon, Samek, Müller: Unmasking Clever Hans predictors and assessing what machines
really learn. Nature Communications 10 (2019) 1096.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.errors import missing_extra
from voxplain.study.audit_cohort import SMALL, Seen
from voxplain.study.audit_outside import times_chance
from voxplain.study.audit_places import ALONG, corners
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, above, concluded, worst

FEWEST = 12
"""Cases below which clusters mean nothing."""

MOST_CLUSTERS = 8

LOOK, FAIL = 2.0, 4.0
"""Times chance: how much of a cluster's maps lies in one corner or along the border."""

CHECK, TITLE = "clusters", "Clusters of maps over the cohort"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Clusters:
    """A cohort's maps of one method, grouped."""

    labels: npt.NDArray[np.int64]
    """(case,), the largest cluster first."""
    eigenvalues: Floats
    """Of the normalised Laplacian, the smallest ones, ascending."""
    embedding: Floats
    """(case, 2), for the figure only."""


def check(seen: Sequence[Seen], methods: Sequence[str], groups: Mapping[str, str], seed: int = 0) -> Verdict:
    """Clusters of each method's maps; one whose maps lie in a corner or along the border is suspect."""
    if len(seen) < FEWEST:
        reason = f"clustering needs at least {FEWEST} cases, got {len(seen)}"
        return Verdict.not_applicable(CHECK, TITLE, reason)
    words: dict[Outcome, str] = {
        "ok": "no cluster of maps lies in a corner or along the border",
        "look": "{names}: the maps of a cluster of cases lie more than by chance in a corner or along the border",
        "fail": "{names}: there is a cluster of cases whose maps lie in a corner or along the border",
    }
    return concluded(
        CHECK,
        TITLE,
        words,
        [_finding(seen, name, groups, seed) for name in methods],
        quantity="share of a cluster's maps in one corner or along the border over its share of the image",
        threshold=f"look above {LOOK:g}, fail above {FAIL:g}, with the whole interval, in any cluster",
    )


def _finding(seen: Sequence[Seen], method: str, groups: Mapping[str, str], seed: int) -> Finding:
    there = [one for one in seen if one.maps[method].small]
    if len(there) < FEWEST:
        return Finding.not_applicable(method, f"clustering needs at least {FEWEST} maps, got {len(there)}")
    found = clustered(np.array([one.maps[method].small for one in there], dtype=np.float64), seed)
    told = [
        _cluster([one for one, label in zip(there, found.labels, strict=True) if label == number], method, groups)
        for number in range(int(found.labels.max()) + 1)
    ]
    whole = worst(one["outcome"] for one in told)
    lead = max(told, key=lambda one: (one["outcome"] == whole, one["low"]))
    counts = f"{len(told)} cluster{'s' * (len(told) > 1)} of {', '.join(str(one['size']) for one in told)} cases"
    words = (
        f"{counts}; one of {lead['size']} ({_classes(lead['said'])}): {lead['value']:.2g} times chance, {lead['place']}"
    )
    numbers = {
        "clusters": told,
        "cases": [one.case for one in there],
        "labels": found.labels.tolist(),
        "embedding": found.embedding.round(4).tolist(),
        "eigenvalues": found.eigenvalues.round(6).tolist(),
        "cells": SMALL[there[0].rank],
        "rank": there[0].rank,
    }
    patients = lead["patients"]
    return Finding(method, whole, words, lead["value"], lead["low"], lead["high"], patients, numbers=numbers)


def _classes(said: Mapping[str, int]) -> str:
    return ", ".join(f"{count} called {name}" for name, count in said.items() if name) or "no classes"


def _cluster(own: Sequence[Seen], method: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """What a cluster is: its cases, what is said of them, its mean map, and where it lies most above chance."""
    names = [name for name in own[0].maps[method].shares if name == ALONG or name in _boxes(own[0].rank)]
    found = {name: times_chance(own, method, name, groups) for name in names}
    place = max(found, key=lambda name: found[name].value)
    most = found[place]
    mean = np.mean([one.maps[method].small for one in own], axis=0)
    outcome: Outcome = above(most, LOOK, FAIL) if len(own) >= 3 else "ok"
    return {
        "size": len(own),
        "said": dict(Counter(one.said for one in own).most_common()),
        "labels": dict(Counter(one.label or "" for one in own).most_common()),
        "place": place,
        "value": most.value,
        "low": most.value if most.low is None else most.low,
        "high": most.high,
        "patients": most.patients,
        "outcome": outcome,
        "mean": [float(f"{one:.6g}") for one in mean],
    }


def _boxes(rank: int) -> list[str]:
    return [*corners((CELLS,) * rank)]


CELLS = 10
"""Any size will do where only the names of corners are asked."""


def clustered(maps: Floats, seed: int = 0) -> Clusters:
    """Maps (case, cell) grouped: nearest neighbours make a graph, the gap in its spectrum the number of clusters.

    Raises `MissingExtra` without scikit-learn.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.manifold import TSNE
        from sklearn.neighbors import kneighbors_graph
    except ImportError as error:
        raise missing_extra("scikit-learn", "segments", "clustering maps") from error
    count = len(maps)
    points = np.sqrt(maps)  # distances of shares by Hellinger: a few strong cells must not be all that counts
    near = kneighbors_graph(points, max(3, round(np.log(count))), mode="connectivity", include_self=False).toarray()
    graph = np.maximum(near, near.T)
    roots = np.sqrt(graph.sum(axis=1))
    values, vectors = np.linalg.eigh(np.eye(count) - graph / np.outer(roots, roots))
    most = min(MOST_CLUSTERS, count // 4)
    number = int(np.argmax(np.diff(values[: most + 1]))) + 1
    rows = vectors[:, :number] / np.linalg.norm(vectors[:, :number], axis=1, keepdims=True).clip(1e-12)
    labels = np.zeros(count, dtype=np.int64)
    if number > 1:
        labels = KMeans(number, n_init=10, random_state=seed).fit_predict(rows)
    order = np.argsort(-np.bincount(labels), kind="stable")
    embedding = TSNE(
        2, perplexity=min(30.0, (count - 1) / 3), init="random", random_state=seed, max_iter=500
    ).fit_transform(points)
    return Clusters(np.argsort(order)[labels], values[: most + 1], np.asarray(embedding, dtype=np.float64))
