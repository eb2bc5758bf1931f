"""Scores of images in which windows are covered, recomputing only what each window changes.

A window of the input changes a box of each map of a convolutional network. One clean forward is written down; for many
windows at once it is played back on those boxes, each cut out with what its operation reads around it, until a box
fills its map or an operation needs all of it. What comes out is what full forwards would give, up to rounding.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor

from voxplain.errors import MemoryShort
from voxplain.score.dry import alone, is_remembered, remembered, without_data
from voxplain.score.memory import SAFETY, SHARE_OF_AVAILABLE, available_bytes, short_of_memory
from voxplain.score.model import COMPLAINTS, Model
from voxplain.score.score import Score
from voxplain.score.stand_in import StandIn
from voxplain.score.windows_covered import Covered
from voxplain.score.windows_fold import folded
from voxplain.score.windows_groups import LEAST_WORK, Plan, grouped, planned
from voxplain.score.windows_replay import Replay
from voxplain.score.windows_trace import Program, Unfollowed, traced

Engine = Literal["auto", "dense", "incremental"]
"""How covered images are computed: whichever is faster, by whole forwards, or only where each window changes maps."""

EXACT = {torch.float64: 1e-9, torch.float32: 1e-4}
"""How far the window that is looked at may lie from a whole forward, as a share of the clean score (at least of one).

Rounding grows with the depth of a network; a wrong border or a lost halo lies far beyond it.
"""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of covered images (n,), or (n, class), and how they were found."""

    values: Tensor
    notes: tuple[str, ...] = ()
    """What was chosen, in sentences."""
    share: float = 1.0
    """Multiply-adds of a window as a share of a forward's, in the mean."""


def covered_scores(
    score: Score,
    covered: Covered,
    clean: Tensor | None = None,
    *,
    engine: Engine = "auto",
    every: bool = False,
) -> Scores:
    """Scores of images in which one window each is covered; `score` must be frozen by the clean batch.

    `clean` are the scores of the clean batch (batch,), or (batch, class) with `every`, where they are known: windows
    that a cover leaves as they are then take these without a forward. `ledger.forwards` counts each other window as one
    sample, and the recording of a clean sample as another.
    """
    return _Windows(score, covered, engine, every).scores(clean)


class _Windows:
    """One question about covered images."""

    def __init__(self, score: Score, covered: Covered, engine: Engine, every: bool) -> None:
        self._score, self._covered, self._engine, self._every = score, covered, engine, every
        self._found: dict[int, Tensor] = {}
        self._notes: list[str] = []
        self._shares: list[float] = []

    def scores(self, clean: Tensor | None) -> Scores:
        covered = self._covered
        changed = torch.arange(len(covered.rows)) if clean is None else (~covered.unchanged()).nonzero()[:, 0]
        values = torch.empty(0) if clean is None else clean.double()[covered.rows.to(clean.device)]
        left: list[int] = []
        for row in covered.rows[changed].unique().tolist():
            numbers = changed[covered.rows[changed] == row].tolist()
            if not self._played(row, numbers):
                left += numbers
        self._whole(left)
        if clean is None:
            values = torch.stack([self._found[number] for number in range(len(covered.rows))])
        else:
            for number, value in self._found.items():
                values[number] = value.to(values)
        still = len(covered.rows) - len(changed)
        if still:
            self._notes.append(f"{still} windows were covered by what they held already, and took no forward")
        share = sum(self._shares) / len(self._shares) if self._shares else 1.0
        return Scores(values, tuple(dict.fromkeys(self._notes)), share)

    def _whole(self, numbers: list[int]) -> None:
        """Whole forwards of the given images."""
        if not numbers:
            return
        listed, covered = torch.tensor(numbers), self._covered
        make = lambda index: covered.make(listed[index])  # noqa: E731
        for piece in self._score.stream(len(numbers), make, like=covered.x, every=self._every):
            self._note(listed[piece.samples].tolist(), piece.values)

    def _note(self, numbers: Sequence[int], values: Tensor) -> None:
        self._found.update(zip(numbers, values.unbind(0), strict=True))

    def _played(self, row: int, numbers: list[int]) -> bool:
        """Play back the windows of one sample; False where they are to go through the whole network."""
        if self._engine == "dense" or self._score.model.fixed_batch is not None:
            return False
        network, allowed = self._network(), self._allowed()
        try:
            plan = self._plan(network, numbers, allowed)
            if plan is None:
                return False
            self._play(network, row, plan, allowed)
        except (Unfollowed, MemoryShort) as reason:
            sentence = f"windows went through the whole network: {reason}"
            self._score.ledger.fallbacks += [sentence] * (sentence not in self._score.ledger.fallbacks)
            return False
        self._shares += [plan.share] * len(numbers)
        self._notes.append(f"incremental: {plan.share:.2g} of each forward recomputed")
        return True

    def _network(self) -> Model:
        model = self._score.model
        return model.network(self._covered.x[:1].to(model.device, model.dtype))

    def _allowed(self) -> int:
        device, budget = self._score.model.device, self._score.budget
        return int((SHARE_OF_AVAILABLE * available_bytes(device) if budget is None else budget) / 2)

    def _plan(self, network: Model, numbers: list[int], allowed: int) -> Plan | None:
        """The plan for the windows of one sample; None where whole forwards are faster. No forward is spent."""
        covered = self._covered
        program = _dry_program(network, covered.x)
        auto = self._engine == "auto"
        if isinstance(program, str):
            if auto:
                return None
            return Plan([numbers[n : n + 16] for n in range(0, len(numbers), 16)], 1.0, 1.0, 1.0)
        room = int(allowed / SAFETY)
        chosen = (covered.first[numbers], covered.past[numbers])
        key = (room.bit_length(), *(part.tobytes() for part in chosen))
        kept = remembered(network.module, ("windows plan", covered.x.shape[1:]), dict[Any, Plan])
        if key not in kept:
            kept.clear()  # only the latest is worth its memory: each image brings its own where regions are covered
            kept[key] = planned(program, *chosen, room)
        plan = kept[key]
        if auto and not plan.worth_it:
            if plan.work >= LEAST_WORK:
                self._notes.append(f"dense: {plan.share:.2g} of each forward would have to be recomputed")
            return None
        groups = [[numbers[n] for n in group] for group in plan.groups]
        return replace(plan, groups=_capped(groups, self._score.chunk))

    def _play(self, network: Model, row: int, plan: Plan, allowed: int) -> None:
        """Record the clean sample, and play back group by group."""
        ledger, covered = self._score.ledger, self._covered
        clean = covered.x[row : row + 1].to(network.device, network.dtype, memory_format=network.order)
        ledger.forwards += 1
        with torch.inference_mode(False), torch.autocast(network.device.type, enabled=False):
            replay = Replay(folded(traced(network, clean, allowed)))
            player = _Player(self._score.model, network, covered, replay, plan)
            ledger.chunks["incremental"] = max(map(len, plan.groups))
            groups = list(reversed(plan.groups))
            while groups:
                group = groups.pop()
                try:
                    self._note(group, self._asked(player, group))
                except COMPLAINTS as error:
                    groups += self._smaller(group, error)
        self._look(network, plan.groups[0][0])

    def _asked(self, player: _Player, group: list[int]) -> Tensor:
        score, index = copy.copy(self._score), torch.tensor(group)
        score.model = cast(Model, player)
        answer = score._asked(index, self._covered.rows[index], every=self._every)  # noqa: SLF001 - a score of our own
        return answer.values.to(self._covered.x.device)

    def _smaller(self, group: list[int], error: Exception) -> list[list[int]]:
        """Two halves of a group for which memory ran out; any other complaint ends the playing back."""
        if not short_of_memory(error) or len(group) == 1:
            raise Unfollowed(f"playing a part back failed ({(str(error).splitlines() or [''])[0][:120]})") from error
        self._score.ledger.halve(len(group))
        half = len(group) // 2
        return [group[half:], group[:half]]

    def _look(self, network: Model, number: int) -> None:
        """Compare one window with a whole forward, once for a network and size of image; raises where they differ."""
        covered, key = self._covered, ("window looked at", self._covered.x.shape[1:], self._covered.x.dtype)
        if self._score.rehearsal:  # played and whole forwards are made up: nothing to compare, only to count
            self._score.ledger.forwards += not is_remembered(network.module, key)
            return

        def job() -> float:
            index = torch.tensor([number])
            make = lambda _: covered.make(index)  # noqa: E731
            (piece,) = self._score.stream(1, make, like=covered.x, every=self._every)
            played = self._found[number].to(piece.values)
            return float(((piece.values[0] - played).abs() / piece.values[0].abs().clamp_min(1)).max())

        off = remembered(network.module, key, job)
        if not off <= EXACT.get(network.dtype, torch.inf):
            raise Unfollowed(f"a window that was looked at came out {off:.1g} away from a whole forward")


class _Player(StandIn):
    """Stands in for a model: takes the numbers of windows, gives the network's output for them."""

    def __init__(self, model: Model, network: Model, covered: Covered, replay: Replay, plan: Plan) -> None:
        super().__init__(model)
        self._network, self._covered, self._replay, self._plan = network, covered, replay, plan

    def __call__(self, numbers: Tensor) -> Tensor:
        """The output (n, ...) of the images of these numbers (n,)."""
        index = numbers.cpu()
        group, tile = index.tolist(), self._plan.tile
        box = self._covered.box(group)
        parts = self._covered.parts(index, box).to(self._network.device, self._network.dtype)
        first = self._covered.first[group]
        branches = grouped(first, list(range(len(group))), tile, (2 * tile) ** first.shape[1]) if tile else []
        with torch.no_grad():
            return self._replay.output(parts, box, branches, self._plan.split)


def _dry_program(network: Model, x: Tensor) -> Program | str:
    """The program of one forward without data; in words why there is none."""

    def job() -> Program | str | None:
        return alone(walk)

    def walk() -> Program | str:
        twin, _ = without_data(network.module)
        shell = torch.empty((1, *x.shape[1:]), dtype=network.dtype, device="meta")
        try:
            return folded(traced(network.with_module(twin), shell, sys.maxsize))
        except Unfollowed as reason:
            return str(reason)

    found = remembered(network.module, ("windows dry", x.shape[1:], network.dtype), job)
    return "the network cannot run without data, so nothing could be planned" if found is None else found


def _capped(groups: list[list[int]], most: int | None) -> list[list[int]]:
    """Groups of at most so many windows."""
    if most is None:
        return groups
    return [group[n : n + most] for group in groups for n in range(0, len(group), most)]
