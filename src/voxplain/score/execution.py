"""How a network is run: as it is, or as a twin that says the same and is faster; made once for each kind of image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from voxplain.score.compiled import Compiled
from voxplain.score.dry import alone
from voxplain.score.folding import Pair, foldable, with_folded
from voxplain.score.hastened import hasten, helps
from voxplain.score.layout import PLAIN, in_dtype, in_order, layout, rewritten
from voxplain.score.output import pick
from voxplain.score.precision import SHORT, deviation
from voxplain.score.sliding import in_one_window
from voxplain.spec import Options

SAME = {torch.float32: 1e-3, torch.float64: 1e-9}
"""How far a twin's outputs may lie from the network's own, as a share of the largest: far more than rounding gives
(4e-7 is usual in float32), far less than any slip would."""

TF32 = 2e-2
"""The same where a GPU multiplies with 10 bits of mantissa, as torch's convolutions do by default."""

CROP = 64
"""Voxels an axis that are enough to compare a twin with the network itself."""

Kind = Literal["forward", "gradient", "rules"]
"""What a pass is for: numbers only, derivatives too, or a way back by rules."""

Precision = Literal["full", "bfloat16", "float16"]
"""Type of weights and activations; 'full' is the model's own."""


@dataclass(frozen=True, kw_only=True)
class Execution(Options):
    """How the network is run."""

    name: ClassVar[str] = "execution"

    prepared: bool = True
    """Fold batch norms into the layers before them and lay memory out channels last: only rounding changes."""
    precision: Precision = "full"
    """Type of weights and activations; below full, deviations are measured and told. Backward rules stay in full."""
    compiled: bool = False
    """Run passes that need numbers only through torch.compile."""

    def _check(self) -> None:
        self._require(self.prepared or self.precision == "full", "precision", "full where the network is not prepared")
        self._require(self.prepared or not self.compiled, "compiled", "off where the network is not prepared")


PREPARED = Execution()

AS_IT_IS = Execution(prepared=False)
"""Every operation of the network itself."""


class Twin(NamedTuple):
    """A network that says what the model's own says."""

    module: nn.Module
    layers: dict[str, nn.Module]
    """The model's layers by their names, in the twin."""
    order: torch.memory_format
    """The order of memory in which it takes its batches."""


@dataclass(eq=False)
class Twins:
    """All twins of one network, and what was found while making them."""

    module: nn.Module
    layers: dict[str, nn.Module]
    output: str | None
    execution: Execution
    remarks: list[str] = field(default_factory=list)
    """Sentences for the certificate."""
    _plans: dict[Any, tuple[tuple[Pair, ...], torch.memory_format]] = field(default_factory=dict)
    _trusted: dict[Any, bool] = field(default_factory=dict)
    _made: dict[Any, Twin] = field(default_factory=dict)
    _left: bool = False
    _lock: Any = field(default_factory=RLock)

    def twin(self, x: Tensor, names: Sequence[str], kind: Kind) -> Twin | None:
        """The twin for batches like `x` whose layers `names` are read; None where the network itself is to run."""
        if self._left or not self.execution.prepared:
            return None
        with self._lock:  # a model may be asked from several threads
            read = {id(self.layers[name]) for name in names}
            found, order = self._plan(x)
            pairs = tuple(pair for pair in found if not any(id(part) in read for part in pair.seen))
            short = None if kind == "rules" else SHORT.get(self.execution.precision)
            compiled = self.execution.compiled and kind == "forward" and not names
            if not (pairs or order != PLAIN or short or compiled or helps(self.module, x)):
                return None
            key = (tuple(id(pair.norm) for pair in pairs), order, short, compiled)
            if key not in self._made:
                self._made[key] = self._asked_for(x, pairs, order, short, compiled)
            return self._made[key]

    def leave(self, error: Exception) -> None:
        """Let the network itself run from now on, since a twin failed where it does not."""
        self._left = True
        self._say(f"the prepared network failed ({type(error).__name__}), so the network ran as it is")

    def _plan(self, x: Tensor) -> tuple[tuple[Pair, ...], torch.memory_format]:
        """The pairs to fold for batches like `x` and the order of memory, as far as a twin was seen to agree."""
        key = (tuple(x.shape[1:]), x.dtype)
        if key not in self._plans:
            self._plans[key] = self._found(x)
        return self._plans[key]

    def _found(self, x: Tensor) -> tuple[tuple[Pair, ...], torch.memory_format]:
        pairs, order = foldable(self.module, in_one_window(self.module, x[:1])), layout(self.module, x)
        if pairs is None:
            self._say("batch norms were not folded: the network does not run on shapes alone")
        whole = tuple(pairs or ())
        # Some networks want the plain order: a view of a tensor depends on it.
        for plan in dict.fromkeys([(whole, order), (whole, PLAIN), ((), PLAIN)]):
            if self._agrees(*plan, x):
                break
        if plan[0]:
            count = f"{len(plan[0])} batch norm{'s' if len(plan[0]) > 1 else ''}"
            self._say(f"{count} ran as part of the layer before, which changes rounding only")
        elif whole:
            self._say("batch norms were not folded: with them folded the network gave other outputs")
        return plan

    def _agrees(self, pairs: tuple[Pair, ...], order: torch.memory_format, x: Tensor) -> bool:
        """Whether a twin says what the network says; looked at once, as sizes only decide which pairs there are."""
        if not pairs and order == PLAIN:
            return True
        key = (tuple(id(pair.norm) for pair in pairs), order)
        if key not in self._trusted:
            made = alone(lambda: self._new(pairs, order, None))
            self._trusted[key] = bool(made and alone(lambda: same(self.module, made, x, self.output)))
            if made and self._trusted[key]:
                self._made[*key, None, False] = made
        return self._trusted[key]

    def _asked_for(
        self, x: Tensor, pairs: Sequence[Pair], order: torch.memory_format, short: torch.dtype | None, compiled: bool
    ) -> Twin:
        """The twin in half precision and compiled, where that was asked for and the network runs so."""
        twin = self._new(pairs, order, short)
        if short is not None:
            name = self.execution.precision
            found = alone(lambda: deviation(self.module, twin.module, x, self.output, short))
            self._say(f"the network ran in {name}: {found}" if found else f"the network does not run in {name}")
            twin = twin if found else self._new(pairs, order, None)
        return twin._replace(module=Compiled(twin.module, self._say)) if compiled else twin

    def _new(self, pairs: Sequence[Pair], order: torch.memory_format, dtype: torch.dtype | None) -> Twin:
        known = rewritten(self.module, order, dtype)
        module = with_folded(self.module, pairs, known)
        for pair in pairs:
            layer = known[id(pair.layer)]
            layer.weight = nn.Parameter(in_order(in_dtype(layer.weight, dtype), order), False)
            layer.bias = nn.Parameter(in_dtype(layer.bias, dtype), False)
        hasten(module)
        return Twin(module, {name: known[id(layer)] for name, layer in self.layers.items()}, order)

    def _say(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)


def same(one: nn.Module, twin: Twin, x: Tensor, output: str | None) -> bool:
    """Whether a network and its twin say the same about the first image of a batch and about noise.

    The middle of the image is enough, unless the network wants all of it.
    """
    noise = torch.randn(x[:1].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)
    whole = [x[:1], noise]
    with torch.no_grad():
        try:
            samples = [_middle(sample) for sample in whole]
            expected = [pick(one(sample.clone()), output) for sample in samples]
        except Exception:  # noqa: BLE001 - code of others
            samples = whole
            expected = [pick(one(sample.clone()), output) for sample in samples]
        found = [pick(twin.module(in_order(sample.clone(), twin.order)), output) for sample in samples]
    return all(_close(*both) for both in zip(expected, found, strict=True))


def _middle(x: Tensor) -> Tensor:
    for axis in range(2, x.ndim):
        side = min(CROP, x.shape[axis])
        x = x.narrow(axis, (x.shape[axis] - side) // 2, side)
    return x


def _close(expected: Tensor, found: Tensor) -> bool:
    if expected.shape != found.shape:
        return False
    coarse = expected.is_cuda and torch.backends.cudnn.allow_tf32
    share = max(SAME.get(expected.dtype, 0), TF32 if coarse else 0)
    tolerance = share * float(expected.nan_to_num(0, 0, 0).abs().max())
    return bool(torch.allclose(expected, found, rtol=0, atol=tolerance, equal_nan=True))
