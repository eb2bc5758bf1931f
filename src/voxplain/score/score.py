"""The score: a model and a target fused into one function, and the only loop over chunks in the package.

A score is called with a batch (batch, channel, *space) and gives one number a sample. It leaves no trace on the user's
model, also after an error: everything runs on the model's prepared copy, hooks live inside context managers, and
gradients are taken by `torch.autograd.grad` with respect to the input only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from voxplain.errors import InputError, MemoryShort, OptionError
from voxplain.score.cells import CellTracker
from voxplain.score.layers import Tap, caught, checked
from voxplain.score.memory import Ledger, plan_chunk, short_of_memory
from voxplain.score.model import Model
from voxplain.score.regions import rows_of
from voxplain.score.target import Choice, Target
from voxplain.score.target import target as as_target
from voxplain.types import Access

Make = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Numbers (n,) of perturbed samples -> those samples (n, channel, *space) and the original row of each (n,)."""


T = TypeVar("T")


class Piece(NamedTuple):
    """What one chunk of a stream gave: which samples (n,), their scores (n,) and gradients (empty if not asked for)."""

    samples: Tensor
    values: Tensor
    gradient: Tensor


class Graded(NamedTuple):
    """Scores (batch,), float64, their gradient by the input, and the class or output number explained (batch,)."""

    values: Tensor
    gradient: Tensor
    classes: Tensor


class Tapped(NamedTuple):
    """Scores (batch,), float64, one tap a layer, and the class or output number explained (batch,)."""

    values: Tensor
    taps: list[Tap]
    classes: Tensor


class Score:
    """A batch in, one number a sample out, with the passes a method may ask for."""

    def __init__(
        self,
        model: Model | nn.Module,
        target: Target | str,
        *,
        spacing_mm: tuple[float, ...] | None = None,
        mask: Tensor | None = None,
        budget: int | None = None,
        chunk: int | None = None,
        access: Access = Access.RULES,
        choice: Choice | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Fuse `model` and `target`.

        `spacing_mm` is the voxel size along the input's spatial axes (None: it has no millimetres), `mask`
        (batch or 1, *space of the output) serves targets over a mask, `budget` is in bytes (None: half of what is
        free), `chunk` fixes the samples at once (None: planned), `access` limits what methods may ask besides the
        model's own limit, `choice` holds class and region once they are frozen.
        """
        self.model = model if isinstance(model, Model) else Model.of(model)
        self.target = as_target(target)
        for name, value in (("budget", budget), ("chunk", chunk)):
            if value is not None and value < 1:
                raise OptionError(f"score: {name} must be at least 1, got {value}")
        self.spacing_mm, self.mask, self.budget, self.chunk = spacing_mm, mask, budget, chunk
        self.access, self.choice = min(access, self.model.access), choice
        self.ledger = Ledger() if ledger is None else ledger

    def __call__(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, " batch"]:
        """Scores (batch,), float64, without gradients."""
        parts = [piece.values for piece in self.stream(len(x), lambda index: (x[index], index), like=x)]
        return torch.cat(parts)

    def output(self, x: Float[Tensor, "batch channel *space"]) -> Tensor:
        """What the model says about a batch, without gradients."""

        def work(index: Tensor) -> Tensor:
            with torch.no_grad():
                return self._output(x[index])

        return torch.cat(list(self._chunks(len(x), x, work, backward=False)))

    def freeze(self, x: Float[Tensor, "batch channel *space"]) -> tuple[Float[Tensor, " batch"], Score]:
        """Scores of the clean batch, and the score with each sample's class and region fixed by it: one forward."""
        if self.choice is not None:
            return self(x), self

        def work(index: Tensor) -> tuple[Tensor, Choice]:
            with torch.no_grad():
                output = self._output(x[index])
                choice = self._chosen(output, index)
                return self._values(output, choice).double().to(x.device), choice

        values, choices = zip(*self._chunks(len(x), x, work, backward=False), strict=True)
        return torch.cat(values), self.frozen(joined(choices))

    def frozen(self, choice: Choice) -> Score:
        """The same score with class and region fixed; the ledger is shared."""
        return Score(
            self.model,
            self.target,
            spacing_mm=self.spacing_mm,
            mask=self.mask,
            budget=self.budget,
            chunk=self.chunk,
            access=self.access,
            choice=choice,
            ledger=self.ledger,
        )

    def grad(self, x: Float[Tensor, "batch channel *space"]) -> Graded:
        """Scores and their gradient with respect to the batch: one forward and one backward, no weight gradients."""
        self._require(Access.GRADIENT, "taking gradients")
        work = lambda index: self._graded(x[index], index)  # noqa: E731
        values, gradients, classes = zip(*self._chunks(len(x), x, work, backward=True), strict=True)
        return Graded(torch.cat(values).to(x.device), torch.cat(gradients).to(x.device), torch.cat(classes))

    def tap(self, x: Float[Tensor, "batch channel *space"], layers: Sequence[str]) -> Tapped:
        """Scores, and for each layer its activations and their gradients: one forward, one backward to the layers."""
        self._require(Access.LAYERS, "reading layers")
        for name in layers:
            self.model.layer(name)
        work = lambda index: self._tapped(x[index], index, layers)  # noqa: E731
        values, taps, classes = zip(*self._chunks(len(x), x, work, backward=True), strict=True)
        together = [_joined_taps(same) for same in zip(*taps, strict=True)]
        return Tapped(torch.cat(values).to(x.device), together, torch.cat(classes))

    def stream(self, count: int, make: Make, *, like: Tensor) -> Iterator[Piece]:
        """Scores of `count` samples that `make` builds lazily, chunk by chunk; `like` is a batch of their shape."""

        def work(index: Tensor) -> Piece:
            batch, rows = make(index)
            with torch.no_grad():
                output = self._output(batch)
                values = self._values(output, self._chosen(output, rows))
            return Piece(index, values.double().to(like.device), values.new_empty(0))

        return self._chunks(count, like, work, backward=False)

    def stream_grad(self, count: int, make: Make, *, like: Tensor) -> Iterator[Piece]:
        """As `stream`, with the gradient of each score by its own sample."""
        self._require(Access.GRADIENT, "taking gradients")

        def work(index: Tensor) -> Piece:
            graded = self._graded(*make(index))
            return Piece(index, graded.values.to(like.device), graded.gradient.to(like.device))

        return self._chunks(count, like, work, backward=True)

    def _graded(self, batch: Tensor, rows: Tensor) -> Graded:
        with torch.inference_mode(False), torch.enable_grad():
            leaf = batch.detach().to(self.model.device, self.model.dtype, copy=True).requires_grad_()
            output = self._output(leaf.clone())  # a leaf must not be changed in place, as some networks do first
            choice = self._chosen(output, rows)
            values = self._values(output, choice)
            (gradient,) = self._gradient(values, [leaf])
        return Graded(values.detach().double(), gradient, choice.index)

    def _tapped(self, x: Tensor, rows: Tensor, layers: Sequence[str]) -> Tapped:
        with torch.inference_mode(False), torch.enable_grad():
            leaf = x.detach().to(self.model.device, self.model.dtype, copy=True)
            tracker = CellTracker(leaf)
            with caught(self.model, layers, tracker) as catches, tracker:
                output = self._output(leaf)
            kept = [checked(name, catches[name], x) for name in layers]
            choice = self._chosen(output, rows)
            values = self._values(output, choice)
            gradients = self._gradient(values, [activation for activation, _ in kept])
        taps = [
            Tap(name, activation.detach()[: len(x)], gradient[: len(x)], cells)  # a fixed batch was filled up
            for name, (activation, cells), gradient in zip(layers, kept, gradients, strict=True)
        ]
        return Tapped(values.detach().double(), taps, choice.index)

    def _gradient(self, values: Tensor, inputs: list[Tensor]) -> list[Tensor]:
        if not values.requires_grad:
            raise InputError(f"{self.target}: the score does not depend on what the method differentiates by")
        self.ledger.backwards += len(values)
        try:
            found = torch.autograd.grad(values.sum(), inputs, allow_unused=True)
        except RuntimeError as error:
            if short_of_memory(error):
                raise
            raise InputError(f"the model cannot be differentiated: {str(error).splitlines()[0][:200]}") from error
        return [torch.zeros_like(of) if part is None else part for part, of in zip(found, inputs, strict=True)]

    def _output(self, batch: Tensor) -> Tensor:
        self.ledger.forwards += len(batch)
        return self.model(self.model.filled(batch.to(self.model.device, self.model.dtype)))[: len(batch)]

    @property
    def classes(self) -> Tensor:
        """The class or output number of each sample (batch,), once frozen."""
        if self.choice is None:
            raise InputError("the score must be frozen by a clean batch before its classes are known")
        return self.choice.index

    def _values(self, output: Tensor, choice: Choice) -> Tensor:
        return self.target.read(output, choice, self.model.head)

    def _chosen(self, output: Tensor, rows: Tensor) -> Choice:
        if self.choice is not None:
            return self.choice.take(rows)
        return self.target.choose(output.detach(), self.model.head, rows_of(self.mask, rows))

    def _require(self, access: Access, asker: str) -> None:
        self.model.require(access, asker)
        if access > self.access:
            raise InputError(f"{asker} needs {access.words}, but this score was limited to {self.access.words}")

    def _chunks(self, count: int, like: Tensor, work: Callable[[Tensor], T], *, backward: bool) -> Iterator[T]:
        """The loop: `work` on index chunks of the planned size, halved and tried again where memory runs out."""
        if count < 1 or len(like) < 1:
            raise InputError(f"input must hold at least one sample, got {tuple(like.shape)}")
        size, start = self._planned(like, backward), 0
        while start < count:
            try:
                with torch.autocast(self.model.device.type, enabled=False):  # else a caller's would round in silence
                    done = work(torch.arange(start, min(start + size, count)))
            except (MemoryError, RuntimeError) as error:
                size = self._halved(size, error)
                continue
            yield done
            start += size

    def _planned(self, like: Tensor, backward: bool) -> int:
        fixed = self.model.fixed_batch or self.chunk
        if fixed is not None:
            self.ledger.chunks["backward" if backward else "forward"] = fixed
            return fixed
        shell = like[:1].to(self.model.device, self.model.dtype)
        return plan_chunk(self.model.module, shell, backward=backward, budget=self.budget, ledger=self.ledger)

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
        self.ledger.halve(size)
        return size // 2


def joined(choices: Sequence[Choice]) -> Choice:
    """The choices of several chunks as those of one batch."""

    def together(parts: Sequence[Tensor | None]) -> Tensor | None:
        tensors = [part for part in parts if part is not None]
        return torch.cat(tensors) if tensors else None

    index = torch.cat([choice.index for choice in choices])
    against = together([choice.against for choice in choices])
    return Choice(index, against, together([choice.region for choice in choices]))


def _joined_taps(taps: Sequence[Tap]) -> Tap:
    """One layer's taps of several chunks as that of one batch."""
    activation = torch.cat([tap.activation for tap in taps])
    return Tap(taps[0].layer, activation, torch.cat([tap.gradient for tap in taps]), taps[0].cells)
