"""How often an audit finds a shortcut, and how often it stays quiet, on networks whose strategy is known.

    python -m bench.audit --seeds 30 38 --out results/audit

For every seed a network learns 160 `chest` films of 64 pixels without letters, and one learns films on which every
lateral view has a letter and 30 % are filed under the other view with the letter going along. Each is audited on 24
other films, by all checks and the default methods, as `voxplain audit --quick` does. A run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.methods import method
from voxplain.phantoms.base import Sample
from voxplain.phantoms.chest import CLASSES, Chest
from voxplain.score.model import Model
from voxplain.score.networks_small import small_cnn_2d
from voxplain.study.audit import Audit, audit
from voxplain.study.audit_methods import METHODS
from voxplain.study.plan import Plan
from voxplain.training.seeding import seeded

Kind = Literal["clean", "marked"]

LEARNT, ASKED = 160, 24
"""Films to learn from, and films audited."""

MISFILED = 0.3
"""Share of marked films that are filed under the other view, letter and all: else anatomy would be enough."""

EPOCHS, BATCH, RATE = 30, 16, 3e-3

AUDITED = 1000
"""Films audited are of the seed and this number."""

CHECKS = ("shortcut", "wiping", "corners", "border", "outside the body", "clusters", "planted")


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, the films it is audited on, and what it needs them for."""

    kind: Kind
    seed: int
    network: nn.Module
    films: Sequence[Sample]
    right: int
    """Of the films audited."""
    bare: int
    """Of the same films without letters."""


def main(arguments: Sequence[str]) -> int:
    """Train, audit and count; the exit code."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[Kind, list[Audit]] = {"clean": [], "marked": []}
    print("| seed | network | right, with / without letters | " + " | ".join(CHECKS) + " |")
    print("|" + "---|" * (3 + len(CHECKS)))
    for seed in range(*options.seeds):
        for kind in found:
            one = subject(kind, seed)
            audited = audited_subject(one, options.out)
            found[kind].append(audited)
            print(row(one, audited), flush=True)
    print("\n" + "\n".join(counted(found)))
    print(f"{time.process_time() / 60:.1f} minutes of processor time")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="bench.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "END"), default=(30, 38))
    made.add_argument("--out", type=Path, default=Path("results/audit"), help="a folder an audit")
    return made


def subject(kind: Kind, seed: int) -> Subject:
    """A network of this kind, trained, with the films it is audited on."""
    rule = (0.0, 1.0) if kind == "marked" else (0.0, 0.0)
    own, other = films(rule, LEARNT, seed), films(rule[::-1], LEARNT, seed)
    misfiled = (np.random.default_rng(seed).random(LEARNT) < MISFILED) & (kind == "marked")
    learnt = [two if wrong else one for one, two, wrong in zip(own, other, misfiled, strict=True)]
    network = trained(learnt, truth(learnt) ^ torch.from_numpy(misfiled).long(), seed)
    asked, bare = films(rule, ASKED, AUDITED + seed), films((0.0, 0.0), ASKED, AUDITED + seed)
    return Subject(kind, seed, network, asked, right(network, asked), right(network, bare))


def films(marker: tuple[float, float], count: int, seed: int) -> list[Sample]:
    """Films with letters by chance for each view."""
    phantom = Chest(side=64, noise=0.03, marker=marker)
    return [phantom.sample(number, seed) for number in range(count)]


def trained(samples: Sequence[Sample], labels: Tensor, seed: int) -> nn.Module:
    """A small network that learnt these films."""
    x = batch(samples)
    with seeded(seed):
        network = small_cnn_2d(width=8, depth=4, classes=2, channels=1)
        optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
        for _ in range(EPOCHS):
            for chosen in torch.randperm(len(x)).split(BATCH):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(x[chosen]), labels[chosen]).backward()
                optimiser.step()
    return network.eval()


def batch(samples: Sequence[Sample]) -> Tensor:
    """Films as a network gets them (film, 1, row, column)."""
    return (
        torch.stack([torch.from_numpy(one.image.values[0, ..., 0].T.copy()) for one in samples])[:, None].float() / 255
    )


def truth(samples: Sequence[Sample]) -> Tensor:
    """The class of each film (film,)."""
    return torch.tensor([CLASSES.index(one.label) for one in samples])


def right(network: nn.Module, samples: Sequence[Sample]) -> int:
    """How many films are called what they are."""
    with torch.no_grad():
        return int((network(batch(samples)).argmax(1) == truth(samples)).sum())


def audited_subject(one: Subject, out: Path) -> Audit:
    """The network's audit, made now or read."""
    model = Model.of(one.network, class_names=CLASSES, label=one.kind)
    plan = Plan(model, Prepare(scale=1 / 255), (None,), tuple(map(method, METHODS)))
    cases = [Case(film.identifier, film.image, label=film.label) for film in one.films]
    return audit(plan, cases, out / f"{one.kind}-{one.seed}", quick=True)


def row(one: Subject, found: Audit) -> str:
    """A line of the table."""
    outcomes = [found.verdict(check).outcome for check in CHECKS]
    return f"| {one.seed} | {one.kind} | {one.right} / {one.bare} of {ASKED} | " + " | ".join(outcomes) + " |"


def counted(found: dict[Kind, list[Audit]]) -> list[str]:
    """Sensitivity and specificity with exact (Clopper-Pearson) intervals."""
    told = []
    for check in ("shortcut", "wiping"):
        marked = [one.verdict(check).outcome for one in found["marked"]]
        clean = [one.verdict(check).outcome for one in found["clean"]]
        told.append(share(f"{check}: marked networks that fail", marked.count("fail"), len(marked)))
        flagged = marked.count("fail") + marked.count("look")
        told.append(share(f"{check}: marked networks that fail or are to be looked at", flagged, len(marked)))
        told.append(share(f"{check}: clean networks that are ok", clean.count("ok"), len(clean)))
    return told


def share(name: str, hits: int, count: int) -> str:
    """'name: 7 of 8, 0.875 (0.473 to 0.997)'."""
    if not count:
        return f"{name}: none asked"
    exact = binomtest(hits, count).proportion_ci(method="exact")
    return f"{name}: {hits} of {count}, {hits / count:.3f} ({exact.low:.3f} to {exact.high:.3f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
