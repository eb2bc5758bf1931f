"""What a method of another package must keep before it joins the table: the checks that our own methods pass.

In a package's tests: `assert failures(MyMethod(steps=3)) == []`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voxplain.errors import InputError, VoxplainError
from voxplain.methods.base import Map, Method
from voxplain.score.networks import small_cnn_2d, small_cnn_3d, small_regressor, small_unet
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

TASKS: dict[tuple[int, str], tuple[Callable[[], nn.Module], str]] = {
    (2, "classification"): (lambda: small_cnn_2d(channels=2, classes=3), "class_score"),
    (3, "classification"): (lambda: small_cnn_3d(channels=2, classes=3), "class_score"),
    (2, "segmentation"): (lambda: small_unet(spatial_dims=2, channels=2), "region(1, over='whole')"),
    (3, "segmentation"): (lambda: small_unet(spatial_dims=3, channels=2), "region(1, over='whole')"),
    (2, "regression"): (lambda: small_regressor(spatial_dims=2, channels=2), "regression"),
    (3, "regression"): (lambda: small_regressor(spatial_dims=3, channels=2), "regression"),
}
"""Spatial axes and task -> a small network and a target that fits it."""

CLOSE = 1e-9
"""Two ways to the same map differ by the order of float64 additions alone."""


@dataclass(frozen=True, eq=False)
class _Case:
    """One network, in float64, and a batch of three for it."""

    module: nn.Module
    target: str
    x: Tensor

    @classmethod
    def of(cls, rank: int, task: str) -> _Case:
        build, target = TASKS[rank, task]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = build().double().eval()
        sides = (12, 14, 13)[:rank]
        x = torch.randn(3, 2, *sides, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return cls(module, target, x)

    def score(self, *, access: Access = Access.RULES, chunk: int | None = None, target: str = "") -> Score:
        reference = self.x.flip(0) * 0.5
        segments = (torch.arange(self.x[0, 0].numel()) // 40).reshape(1, *self.x.shape[2:])
        return Score(
            self.module, target or self.target, access=access, chunk=chunk, reference=reference, segments=segments
        )


def failures(method: Method, kinds: tuple[tuple[int, str], ...] = tuple(TASKS)) -> list[str]:
    """What the method does not keep, one sentence each; empty where it conforms.

    `kinds` are pairs of spatial axes and task; leave one out only where the mathematics has no such case.
    """
    found = list(_declarations(method))
    for rank, task in kinds:
        for check in (_on_the_grid, _one_by_one, _chunks, _equal_bytes, _no_trace, _access, _refusals):
            try:
                found += [f"{rank}D {task}: {sentence}" for sentence in check(method, _Case.of(rank, task))]
            except VoxplainError as error:
                found.append(f"{rank}D {task}: it refuses: {error}")
    return found


def _declarations(method: Method) -> Iterator[str]:
    for name in ("name", "title", "citation", "law", "cost"):
        if not getattr(type(method), name, ""):
            yield f"{name} must be declared on the class, got nothing"
    if not type(method).__doc__:
        yield "the class must have a docstring that says what a value means"


def _on_the_grid(method: Method, case: _Case) -> Iterator[str]:
    found = method(case.score(), case.x)
    if not bool(torch.isfinite(found.values).all()):
        yield "the map must be finite"
    if len(found.values) != len(case.x) or found.values.ndim != case.x.ndim:
        yield f"the map must be (batch, channel, *space), got {tuple(found.values.shape)}"
    if found.cells is None and found.values.shape[2:] != case.x.shape[2:]:
        yield "a map away from the input's resolution must say where its cells lie"
    if found.quantity in (Quantity.SALIENCY, Quantity.MASK) and bool((found.values < 0).any()):
        yield f"a map of {found.quantity} must not be negative"
    if not found.unit:
        yield "the unit must be told"


def _one_by_one(method: Method, case: _Case) -> Iterator[str]:
    together = method(case.score(), case.x).values
    alone = torch.cat([method(case.score(), case.x[n : n + 1]).values for n in range(len(case.x))])
    if not _close(together, alone):
        yield "each sample of a batch must get the map that it gets alone"


def _chunks(method: Method, case: _Case) -> Iterator[str]:
    if not _close(method(case.score(chunk=1), case.x).values, method(case.score(chunk=5), case.x).values):
        yield "the map must not depend on how many samples go through the network at once"


def _equal_bytes(method: Method, case: _Case) -> Iterator[str]:
    if not torch.equal(method(case.score(), case.x).values, method(case.score(), case.x).values):
        yield "equal requests must give equal bytes"


def _no_trace(method: Method, case: _Case) -> Iterator[str]:
    score, state, image = case.score(), torch.get_rng_state(), case.x.clone()
    before = {name: tensor.clone() for name, tensor in score.model.module.state_dict().items()}
    method(score, case.x)
    if not torch.equal(torch.get_rng_state(), state):
        yield "the global random state must be left alone; draw from voxplain.ops.draws"
    if not torch.equal(case.x, image):
        yield "the image must not be changed"
    after = score.model.module.state_dict()
    if any(not torch.equal(tensor, after[name]) for name, tensor in before.items()):
        yield "the weights must not be changed"
    if any(part._forward_hooks or part._backward_hooks for part in score.model.module.modules()):  # noqa: SLF001
        yield "no hook may stay on the model"
    if any(weight.requires_grad or weight.grad is not None for weight in score.model.module.parameters()):
        yield "weights must not get gradients"


def _access(method: Method, case: _Case) -> Iterator[str]:
    needed = method.needed_access
    method(case.score(access=needed), case.x)
    if needed is Access.CALLS:
        return
    try:
        method(case.score(access=Access(needed - 1)), case.x)
    except InputError:
        return
    yield f"it declares that it needs {needed.words}, but works with less"


def _refusals(method: Method, case: _Case) -> Iterator[str]:
    broken = case.x.clone()
    broken[0, 0].flatten()[0] = torch.nan
    for words, batch in (("voxels that are not finite", broken), ("an empty batch", case.x[:0])):
        try:
            method(case.score(), batch)
        except VoxplainError:
            continue
        yield f"{words} must be refused"


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=CLOSE, atol=CLOSE)


__all__ = ["Map", "Method", "failures"]
