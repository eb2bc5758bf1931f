"""The score: a model and a target fused into one function, and the only loop over chunks in the package.

A score is called with a batch (batch, channel, *space) and gives one number a sample. It leaves no trace on the user's
model, also after an error: everything runs on the model's prepared copy, hooks live inside context managers, and
gradients are taken by `torch.autograd.grad` with respect to the input only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from voxplain.errors import InputError, MemoryShort, OptionError
from voxplain.score.choice import Choice, joined
from voxplain.score.execution import Kind
from voxplain.score.found import Graded, Piece, Ruled, Tapped, joined_taps
from voxplain.score.memory import Ledger, Way, evened, key_of, plan_chunk, short_of_memory
from voxplain.score.model import Model
from voxplain.score.passes import Answer, Ask, answered
from voxplain.score.regions import check_count, rows_of
from voxplain.score.rules import Rules
from voxplain.score.target import Target
from voxplain.score.target import target as as_target
from voxplain.types import Access

Make = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Numbers (n,) of perturbed samples -> those samples (n, channel, *space) and the original row of each (n,)."""


T = TypeVar("T")


class Score:
    """A batch in, one number a sample out, with the passes a method may ask for."""

    def __init__(
        self,
        model: Model | nn.Module,
        target: Target | str,
        *,
        spacing_mm: tuple[float, ...] | None = None,
        mask: Tensor | None = None,
        reference: Tensor | None = None,
        segments: Tensor | None = None,
        seed: int = 0,
        budget: int | None = None,
        chunk: int | None = None,
        access: Access = Access.RULES,
        choice: Choice | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Fuse `model` and `target`.

        `spacing_mm` is the voxel size along the input's spatial axes (None: it has no millimetres), `mask`
        (batch or 1, *space of the output) serves targets over a mask, `reference` (n, channel, *space) are images to
        compare with, `segments` (batch or 1, *space) labels parts of the input, `seed` serves methods that draw at
        random, `budget` is in bytes (None: half of what is free), `chunk` fixes the samples at once (None: planned),
        `access` limits what methods may ask besides the model's own limit, `choice` holds class and region once they
        are frozen.
        """
        self.model = model if isinstance(model, Model) else Model.of(model)
        self.target = as_target(target)
        for name, value in (("budget", budget), ("chunk", chunk)):
            if value is not None and value < 1:
                raise OptionError(f"score: {name} must be at least 1, got {value}")
        self.spacing_mm, self.mask, self.reference, self.segments = spacing_mm, mask, reference, segments
        self.seed, self.budget, self.chunk = seed, budget, chunk
        self.access, self.choice = min(access, self.model.access), choice
        self.ledger = Ledger() if ledger is None else ledger
        self.rules: Rules | None = None
        self.ask: Callable[[Sequence[Ask]], list[Answer | Exception]] = answered
        self.rehearsal = False  # True where passes are counted and answers made up

    def __call__(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, " batch"]:
        """Scores (batch,), float64, without gradients."""
        parts = [piece.values for piece in self.stream(len(x), lambda index: (x[index], index), like=x)]
        return torch.cat(parts)

    def output(self, x: Float[Tensor, "batch channel *space"]) -> Tensor:
        """What the model says about a batch, without gradients."""

        def work(index: Tensor) -> Tensor:
            self.ledger.forwards += len(index)
            with torch.no_grad():
                return self.model(self.model.filled(x[index].to(self.model.device, self.model.dtype)))[: len(index)]

        return torch.cat(list(self._chunks(len(x), x, work, backward=False)))

    def freeze(self, x: Float[Tensor, "batch channel *space"]) -> tuple[Float[Tensor, " batch"], Score]:
        """Scores of the clean batch, and the score with each sample's class and region fixed by it: one forward."""
        if self.choice is not None:
            return self(x), self
        check_count(self.mask, len(x))
        work = lambda index: self._asked(x[index], index)  # noqa: E731
        found = list(self._chunks(len(x), x, work, backward=False))
        values = torch.cat([answer.values.to(x.device) for answer in found])
        return values, self.frozen(joined([answer.choice for answer in found]))

    def frozen(self, choice: Choice) -> Score:
        """The same score with class and region fixed; the ledger is shared."""
        twin = copy.copy(self)
        twin.choice = choice
        return twin

    def with_rules(self, rules: Rules) -> Score:
        """The same score, whose gradients follow `rules` on the way back; forwards are shared with other rules."""
        self._require(Access.RULES, rules.name)
        twin = copy.copy(self)
        twin.rules = rules
        return twin

    def back(self, x: Float[Tensor, "batch channel *space"], rules: Rules) -> Ruled:
        """As `grad`, by `rules`, with the record of the way back."""
        found = self.with_rules(rules)._graded(x)  # noqa: SLF001 - a score of our own
        values, gradients = (torch.cat(parts).to(x.device) for parts in zip(*map(_parts, found), strict=True))
        classes = torch.cat([answer.choice.index for answer in found])
        return Ruled(values, gradients, classes, [answer.met for answer in found if answer.met is not None])

    def grad(self, x: Float[Tensor, "batch channel *space"], beside: tuple[str, ...] = ()) -> Graded:
        """Scores and their gradient with respect to the batch: one forward and one backward, no weight gradients.

        `beside` are layers that are tapped at the same time: read by one network, both share its forward.
        """
        found = self._graded(x, beside)
        values, gradients = (torch.cat(parts).to(x.device) for parts in zip(*map(_parts, found), strict=True))
        return Graded(values, gradients, torch.cat([answer.choice.index for answer in found]))

    def _graded(self, x: Tensor, beside: tuple[str, ...] = ()) -> list[Answer]:
        self._require(Access.GRADIENT, "taking gradients")
        check_count(self.mask, len(x))
        work = lambda index: self._asked(x[index], index, gradient=True, layers=beside, back=False)  # noqa: E731
        return list(self._chunks(len(x), x, work, backward=True, layers=beside))

    def tap(self, x: Float[Tensor, "batch channel *space"], layers: Sequence[str], *, back: bool = True) -> Tapped:
        """Scores, and for each layer its activations and their gradients: one forward, one backward to the layers.

        Without the way `back` there are no gradients.
        """
        self._require(Access.LAYERS, "reading layers")
        for name in layers:
            self.model.layer(name)
        check_count(self.mask, len(x))
        work = lambda index: self._asked(x[index], index, layers=tuple(layers), back=back)  # noqa: E731
        found = list(self._chunks(len(x), x, work, backward=back, layers=layers))
        values = torch.cat([answer.values for answer in found]).to(x.device)
        together = [joined_taps(same) for same in zip(*(answer.taps for answer in found), strict=True)]
        return Tapped(values, together, torch.cat([answer.choice.index for answer in found]))

    def stream(self, count: int, make: Make, *, like: Tensor, every: bool = False) -> Iterator[Piece]:
        """Scores of `count` samples that `make` builds lazily, chunk by chunk; `like` is a batch of their shape.

        With `every`, the number of each class or output (n, class) instead of the explained one's alone.
        """

        def work(index: Tensor) -> Piece:
            answer = self._asked(*make(index), every=every)
            return Piece(index, answer.values.to(like.device), answer.values.new_empty(0))

        return self._chunks(count, like, work, backward=False)

    def stream_grad(self, count: int, make: Make, *, like: Tensor, width: int = 1) -> Iterator[Piece]:
        """As `stream`, with the gradient of each score by its own sample.

        `width` is how many samples `make` builds for each number, where these must go through the network together.
        """
        self._require(Access.GRADIENT, "taking gradients")

        def work(index: Tensor) -> Piece:
            values, gradient = _parts(self._asked(*make(index), gradient=True, width=width))
            return Piece(index, values.to(like.device), gradient.to(like.device))

        return self._chunks(count, like, work, backward=True, width=width)

    def _asked(
        self,
        batch: Tensor,
        rows: Tensor,
        *,
        every: bool = False,
        gradient: bool = False,
        layers: tuple[str, ...] = (),
        back: bool = True,
        width: int = 1,
    ) -> Answer:
        """The answer of one pass; `rows` are the samples of the clean batch that these were made from."""

        def read(output: Tensor) -> tuple[Tensor, Choice]:
            choice = self._chosen(output, rows)
            reader = self.target.read_all if every else self.target.read
            return reader(output, choice, self.model.head) * self._scale(batch, output), choice

        meaning = f"{self.target}{' of every class' if every else ''}"
        graded = gradient or bool(layers and back)
        rules = self.rules if graded else None
        stretch = self._stretch(batch, layers, width) if graded else None
        apart = self.choice is not None and self.target.local and self.model.windows
        region = self.choice.take(rows).region if self.choice is not None and apart else None
        asked = Ask(self.model, batch, read, meaning, self.ledger, gradient, layers, back, rules, region, stretch)
        (answer,) = self.ask([asked])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def classes(self) -> Tensor:
        """The class or output number of each sample (batch,), once frozen."""
        if self.choice is None:
            raise InputError("the score must be frozen by a clean batch before its classes are known")
        return self.choice.index

    def _scale(self, batch: Tensor, output: Tensor) -> float:
        """What the target's numbers are multiplied by, from the volume of an output's voxel."""
        volume = batch.ndim == output.ndim == 5 and self.spacing_mm is not None
        voxel = prod(self.spacing_mm or ()) * prod(batch.shape[2:]) / prod(output.shape[2:]) if volume else None
        return self.target.scale(voxel)

    def _chosen(self, output: Tensor, rows: Tensor) -> Choice:
        if self.choice is not None:
            return self.choice.take(rows)
        return self.target.choose(output.detach(), self.model.head, rows_of(self.mask, rows))

    def _require(self, access: Access, asker: str) -> None:
        self.model.require(access, asker)
        if access > self.access:
            raise InputError(f"{asker} needs {access.words}, but this score was limited to {self.access.words}")

    def _chunks(
        self,
        count: int,
        like: Tensor,
        work: Callable[[Tensor], T],
        *,
        backward: bool,
        width: int = 1,
        layers: Sequence[str] = (),
    ) -> Iterator[T]:
        """The loop: `work` on index chunks of the planned size, halved and tried again where memory runs out."""
        if count < 1 or len(like) < 1:
            raise InputError(f"input must hold at least one sample, got {tuple(like.shape)}")
        size, start = evened(max(1, self._planned(like, backward, layers, width) // width), count), 0
        while start < count:
            try:
                with torch.autocast(self.model.device.type, enabled=False):  # else a caller's would round in silence
                    done = work(torch.arange(start, min(start + size, count)))
            except (MemoryError, RuntimeError) as error:
                size = self._halved(size, error)
                continue
            yield done
            start += size

    def _planned(self, like: Tensor, backward: bool, layers: Sequence[str], width: int) -> int:
        kind = "backward" if backward else "forward"
        fixed = self.model.fixed_batch or self.chunk
        if fixed is not None:
            self.ledger.chunks[kind] = min(fixed, self.ledger.chunks.get(kind, fixed))
            return self.ledger.chunks[kind]
        network, shell = self._runs(like, layers, backward)
        way = self._way(network, layers, width)
        return plan_chunk(network.module, shell, backward=backward, budget=self.budget, ledger=self.ledger, way=way)

    def _runs(self, like: Tensor, layers: Sequence[str], backward: bool) -> tuple[Model, Tensor]:
        """The network that runs for batches like this one, and a sample as it takes it."""
        shell = like[:1].to(self.model.device, self.model.dtype)
        kind: Kind = ("rules" if self.rules else "gradient") if backward else "forward"
        network = self.model.network(shell, layers, kind)
        return network, shell.to(network.dtype)

    def _way(self, network: Model, layers: Sequence[str], width: int) -> Way:
        return Way(tuple(map(network.layer, layers)), self.rules is not None, width)

    def _stretch(self, batch: Tensor, layers: Sequence[str], width: int) -> int | None:
        """Bytes of the forward after which activations are let go, where the plan needs that."""
        if not self.ledger.stretches:
            return None
        network, shell = self._runs(batch, layers, True)
        return self.ledger.stretches.get(key_of(network.module, shell, True, self._way(network, layers, width)))

    def _halved(self, size: int, error: Exception) -> int:
        """Half the chunk after running out of memory; re-raises any other error, and `MemoryShort` at one sample."""
        if not short_of_memory(error):
            raise error
        if size == 1 or self.model.fixed_batch is not None:
            raise MemoryShort(
                "out of memory with one sample at a time; use a smaller image or a machine with more memory"
            ) from error
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.ledger.halve(size)


def _parts(answer: Answer) -> tuple[Tensor, Tensor]:
    if answer.gradient is None:
        raise RuntimeError("a pass was asked for a gradient and gave none")
    return answer.values, answer.gradient
