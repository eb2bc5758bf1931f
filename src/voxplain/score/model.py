"""The model: a network behind one calling convention - a batch in, the meant output tensor out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Self

import torch
from torch import Tensor, nn

from voxplain.errors import InputError, MemoryShort, VoxplainError, unknown
from voxplain.score.execution import AS_IT_IS, PREPARED, Execution, Kind, Precision, Twins
from voxplain.score.layout import PLAIN
from voxplain.score.memory import short_of_memory
from voxplain.score.output import pick
from voxplain.score.prepared import HALF, prepare, weights_hash
from voxplain.score.sliding import SlidingWindows, sliding
from voxplain.types import HEADS, Access, Head

COMPLAINTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)
"""What a network's own code raises on an input that it cannot take."""


@dataclass(frozen=True, eq=False)
class Model:
    """A frozen prepared copy of a network and how to talk to it; made by `Model.of`."""

    module: nn.Module = field(repr=False)
    access: Access = Access.RULES
    """The most a method may ask of it."""
    reason: str = ""
    """Why access is limited, in words."""
    output: str | None = None
    """Which part of the output is meant, where there are several."""
    head: Head = "auto"
    class_names: tuple[str, ...] = ()
    fixed_batch: int | None = None
    """The only batch size the program takes, or None."""
    channels: int | None = None
    """Input channels it wants, where known."""
    rank: int | None = None
    """Spatial dimensions it wants (2 or 3), where known."""
    label: str = "model"
    """How the user named it."""
    notices: tuple[str, ...] = ()
    layers: Mapping[str, nn.Module] = field(default_factory=dict, repr=False)
    """Layers by the name users know them under; filled from `named_modules` unless given."""
    execution: Execution = PREPARED
    """How the network is run."""
    order: torch.memory_format = PLAIN
    """The order of memory in which the network takes its batches."""
    twins: Twins = field(init=False, repr=False)
    """Networks that run in place of this one."""
    _stand_ins: dict[int, Model] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twins", Twins(self.module, dict(self.layers), self.output, self.execution))

    @classmethod
    def of(
        cls,
        module: nn.Module,
        *,
        output: str | None = None,
        head: Head = "auto",
        class_names: Sequence[str] = (),
        access: Access | None = None,
        reason: str = "",
        fixed_batch: int | None = None,
        channels: int | None = None,
        rank: int | None = None,
        label: str = "",
        notices: Sequence[str] = (),
        execution: Execution = PREPARED,
    ) -> Self:
        """Copy and freeze `module`; what is not told about its input is guessed from its first convolution.

        `execution=Execution(prepared=False)` runs every operation of the module exactly as it is.
        """
        if head not in HEADS:
            raise unknown("head", head, HEADS)
        prepared = prepare(module)
        limit = prepared.access if access is None else min(access, prepared.access)
        guess_channels, guess_rank = first_convolution(prepared.module)
        return cls(
            module=prepared.module,
            access=limit,
            reason=reason or prepared.reason,
            output=output,
            head=head,
            class_names=tuple(class_names),
            fixed_batch=fixed_batch,
            channels=channels or guess_channels,
            rank=rank or guess_rank,
            label=label or type(module).__name__,
            notices=(*notices, *prepared.notices),
            layers=_layers(prepared.module),
            execution=execution,
        )

    def network(self, x: Tensor, layers: Sequence[str] = (), kind: Kind = "forward") -> Model:
        """What to run for batches like `x` (batch, channel, *space) whose `layers` are read: this model, or a twin.

        A twin says the same up to rounding, unless half precision was asked for. Made once for each size of image.
        """
        twin = self.twins.twin(self.filled(x[:1]), layers, kind)
        if twin is None:
            return self
        found = self._stand_ins.get(id(twin))  # twins live as long as this model, so their ids are their own
        return found or self._stand_ins.setdefault(id(twin), self.with_module(*twin))

    def with_module(
        self, module: nn.Module, layers: Mapping[str, nn.Module] | None = None, order: torch.memory_format | None = None
    ) -> Model:
        """The same model with another network in its place, which runs exactly as it is."""
        layers, order = self.layers if layers is None else layers, self.order if order is None else order
        return replace(self, module=module, layers=layers, order=order, execution=AS_IT_IS)

    def __call__(self, x: Tensor) -> Tensor:
        """The meant output for a batch (batch, channel, *space): (batch, class) or (batch, class, *space)."""
        output = _with_classes(pick(self.run(x), self.output), x)
        if output.ndim < 2 or output.shape[0] != x.shape[0]:
            raise InputError(
                f"the model must return one row a sample, got {tuple(output.shape)} for a batch of {x.shape[0]}"
            )
        return output.float() if output.dtype in HALF else output

    def filled(self, x: Tensor) -> Tensor:
        """A batch with its last sample repeated up to the only batch size the program takes."""
        missing = (self.fixed_batch or 0) - len(x)
        return x if missing <= 0 else torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])

    def run(self, x: Tensor) -> object:
        """Everything the network returns for a batch; its own complaints come back as one sentence."""
        try:
            return self.module(x)
        except VoxplainError:
            raise
        except COMPLAINTS as error:
            if short_of_memory(error):
                raise
            raise self._complaint(x, error) from error

    def _complaint(self, x: Tensor, error: Exception) -> VoxplainError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        wanted = self.wanted_input
        got = f"{tuple(x.shape[1:])} (channel, *space)"
        if (self.rank is not None and x.ndim - 2 != self.rank) or self.channels not in (None, x.shape[1]):
            return InputError(f"the model wants {wanted}, got {got}")
        return InputError(f"the model failed on an input of {got}: {reason[:200]}")

    @property
    def wanted_input(self) -> str:
        """What goes in, in words: '3 channels in 2D'."""
        channels = f"{self.channels} channel{'s' if self.channels != 1 else ''}" if self.channels else "channels"
        return f"{channels} in {self.rank}D" if self.rank else channels

    @cached_property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights (float32 where there are none)."""
        floats = (tensor.dtype for tensor in self.module.parameters() if tensor.is_floating_point())
        return next(floats, torch.float32)

    @cached_property
    def device(self) -> torch.device:
        """Where the weights lie."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 of the weights, hexadecimal."""
        return weights_hash(self.module)

    def run_as(self, *, prepared: bool = True, precision: Precision = "full", compiled: bool = False) -> Model:
        """The same model, run in another way; see `Execution` for what the options mean."""
        return replace(self, execution=Execution(prepared=prepared, precision=precision, compiled=compiled))

    @cached_property
    def windows(self) -> str:
        """The sliding window under which the network reads an image, in words; empty where there is none."""
        found = sliding(self.module)
        return "" if found is None else found.told

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was found so far while the network was prepared, in sentences."""
        return tuple(self.twins.remarks)

    def on(self, device: torch.device | str) -> Model:
        """The model on another device (this one stays where it is); `InputError` where there is no such device."""
        try:
            if torch.device(device) == self.device or not list(self.module.parameters()):
                return self
            moved = prepare(self.module).module.to(device)
        except (RuntimeError, AssertionError) as error:
            if short_of_memory(error):
                raise MemoryShort(f"the model's weights do not fit on device {str(device)!r}") from error
            raise InputError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0][:200]}") from error
        return replace(self, module=moved, layers=_layers(moved))

    def layer(self, name: str) -> nn.Module:
        """The layer of that name; raises with the nearest names."""
        if name in self.layers:
            return self.layers[name]
        if not self.layers:
            raise InputError(f"the model offers no layers by name{': ' + self.reason if self.reason else ''}")
        raise unknown("layer", name, self.layers)

    def require(self, access: Access, asker: str) -> None:
        """Raise in words unless the model offers `access`."""
        if access > self.access:
            raise InputError(
                f"{asker} needs {access.words}, but this model offers {self.access.words}"
                f"{': ' + self.reason if self.reason else ''}"
            )


def _with_classes(output: Tensor, x: Tensor) -> Tensor:
    """One number a sample or voxel gets its axis of classes, and a map of a single place becomes a row."""
    if output.shape in (x.shape[:1], (len(x), *x.shape[2:])):
        return output[:, None]
    return output.flatten(1) if output.ndim == x.ndim and prod(output.shape[2:]) == 1 else output


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """Every named part that can be tapped: TorchScript inside a network takes no hooks.

    A network under a sliding window has the names that it has alone.
    """
    parts = module.network.named_modules() if isinstance(module, SlidingWindows) else module.named_modules()
    return {name: part for name, part in parts if name and not isinstance(part, torch.jit.ScriptModule)}


def first_convolution(module: nn.Module) -> tuple[int | None, int | None]:
    """Input channels and rank of the first registered convolution, (None, None) without one."""
    ranks = {nn.Conv2d: 2, nn.Conv3d: 3}
    for part in module.modules():
        for kind, rank in ranks.items():
            if isinstance(part, kind):
                return part.in_channels, rank
    return None, None
