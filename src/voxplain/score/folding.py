"""Batch norms folded into the layer before them, found by watching where the tensors of one forward really go.

The forward that is watched runs on tensors without data: it costs nothing, and a network whose way depends on the
voxels' values cannot run on them, so that what was seen holds for every image of that size.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._python_dispatch import TorchDispatchMode

from voxplain.score.dry import alone, without_data
from voxplain.score.output import tensors

NORM = nn.modules.batchnorm._BatchNorm

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED, nn.Linear)
"""Layers that a norm can be folded into."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Pair(NamedTuple):
    """A layer whose output goes into a batch norm in evaluation and nowhere else, and that norm."""

    layer: nn.Module
    norm: nn.Module
    seen: tuple[nn.Module, ...]
    """Parts of the network that show what folding changes: those that give the layer's own output, and the norm."""


class Passing(nn.Module):
    """Stands where a folded norm stood; it runs the norm's own parts, such as an activation, in their order."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """What the parts make of x."""
        for part in self.children():
            x = part(x)
        return x


def foldable(module: nn.Module, x: Tensor) -> list[Pair] | None:
    """The pairs that can be folded for batches like `x`; None where the network cannot be watched."""
    if not any(isinstance(part, NORM) and _is_plain(part) for part in module.modules()):
        return []
    return alone(lambda: _watched(module, x))


def folded(pair: Pair) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight and bias of the layer with its norm in them, computed in float64."""
    norm: Any = pair.norm
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight.double()
    weight, bias = pair.layer.get_parameter("weight"), pair.layer.bias
    before = norm.running_mean.double() if bias is None else norm.running_mean.double() - bias.double()
    shift = -before * scale if norm.bias is None else norm.bias.double() - before * scale
    wide = weight.double() * _along_outputs(pair.layer, scale, weight)
    return nn.Parameter(wide.to(weight), False), nn.Parameter(shift.to(weight), False)


def _along_outputs(layer: nn.Module, scale: Tensor, weight: Tensor) -> Tensor:
    """Numbers (output channel,) shaped to multiply a weight."""
    ones = [1] * (weight.ndim - 2)
    if not isinstance(layer, TRANSPOSED):
        return scale.reshape(-1, 1, *ones)
    inside = len(weight) // layer.groups  # (in, out / groups, *kernel): each group of inputs has its own outputs
    return scale.reshape(layer.groups, 1, -1).expand(-1, inside, -1).reshape(len(weight), -1, *ones)


def with_folded(module: nn.Module, pairs: Sequence[Pair], known: dict[int, Any]) -> nn.Module:
    """A copy of the network with these pairs folded; tensors in `known`, by the id of the original, are taken as told.

    `known` gets the copy of every part.
    """
    for pair in pairs:
        parts = {name: copy.deepcopy(part, known) for name, part in pair.norm.named_children()}
        known[id(pair.norm)] = Passing(parts)
    twin = copy.deepcopy(module, known)
    for pair in pairs:
        known[id(pair.layer)].weight, known[id(pair.layer)].bias = folded(pair)
    return twin


def agree(pair: Pair) -> bool:
    """Whether a pair gives what it gave once it is folded, on noise, in float64.

    Layers and norms of others may do more than torch's own: scale their weights each time, or act on the result.
    """
    if type(pair.layer) in WEIGHTED and type(pair.norm) in PLAIN_NORMS:
        return True
    known: dict[int, Any] = {}
    own = nn.Sequential(copy.deepcopy(pair.layer), copy.deepcopy(pair.norm)).double().eval()
    twin = with_folded(own, [Pair(own[0], own[1], ())], known)
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(_small(pair.layer), generator=noise, dtype=torch.float64).to(
        pair.layer.get_parameter("weight").device
    )
    try:
        with torch.no_grad():
            expected, found = own(x.clone()), twin(x.clone())
    except Exception:  # noqa: BLE001 - code of others, which then stays as it is
        return False
    return expected.shape == found.shape and bool(torch.allclose(expected, found, rtol=1e-9, atol=1e-9))


PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def _small(layer: Any) -> tuple[int, ...]:
    """The shape of a batch that a layer turns into more than one place along each axis."""
    if isinstance(layer, nn.Linear):
        return 2, layer.in_features
    sizes = zip(layer.kernel_size, layer.dilation, layer.stride, strict=True)
    return 2, layer.in_channels, *(dilation * (kernel - 1) + 1 + 2 * stride for kernel, dilation, stride in sizes)


@dataclass(eq=False)
class _Use:
    """What happened to the outputs of one layer."""

    calls: int = 0
    outputs: int = 0
    """How often its output was (part of) what the whole network returned."""
    readers: list[nn.Module | None] = field(default_factory=list)
    """The norm inside which each operation on its output ran, None for anywhere else."""
    dimensions: int = 0
    """Dimensions of its output."""
    givers: list[nn.Module] = field(default_factory=list)
    """Parts of the network that returned this very output."""


class _Flow(TorchDispatchMode):
    """Follows the outputs of layers with weights to the operations that read them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.norm: nn.Module | None = None
        self.uses: dict[nn.Module, _Use] = {}
        self.norms: dict[nn.Module, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and note whose output it reads."""
        for _, tensor in tensors([args, kwargs]):
            layer = getattr(tensor, MARK, None)
            if layer is not None:
                fits = "batch_norm" in func.__name__
                self.uses[layer].readers.append(self.norm if fits else None)
        return func(*args, **(kwargs or {}))

    def gave(self, module: nn.Module, _: object, output: object) -> None:
        """Forward hook of every part: mark what a layer with weights gives, and note who hands it on."""
        if isinstance(module, WEIGHTED) and isinstance(output, Tensor):
            use = self.uses.setdefault(module, _Use())
            use.calls, use.dimensions = use.calls + 1, output.ndim
            setattr(output, MARK, module)
        if module is self.norm:
            self.norm = None
        for _, tensor in tensors(output):
            layer = getattr(tensor, MARK, None)
            if layer is not None:
                self.uses[layer].givers.append(module)

    def enters(self, module: nn.Module, _: object) -> None:
        """Forward pre-hook of norms: what reads now reads for this norm."""
        self.norm = module
        self.norms[module] = self.norms.get(module, 0) + 1


MARK = "_voxplain_layer"
"""Where a tensor carries the layer that gave it: the mark goes with the tensor, unlike its id."""


def _watched(module: nn.Module, x: Tensor) -> list[Pair]:
    twin, copies = without_data(module)
    back = {id(copies[id(part)]): part for part in module.modules() if id(part) in copies}
    flow = _Flow()
    for part in twin.modules():
        part.register_forward_hook(flow.gave)
        if isinstance(part, NORM):
            part.register_forward_pre_hook(flow.enters)
    with torch.no_grad(), flow:
        output = twin(torch.empty(x.shape, dtype=x.dtype, device="meta"))
    for _, tensor in tensors(output):
        layer = getattr(tensor, MARK, None)
        if layer is not None:
            flow.uses[layer].outputs += 1
    return [pair for pair in _pairs(flow, back) if agree(pair)]


def _pairs(flow: _Flow, back: Mapping[int, nn.Module]) -> Iterator[Pair]:
    for twin, use in flow.uses.items():
        norm = use.readers[0] if len(use.readers) == 1 else None
        if norm is None or use.calls != 1 or use.outputs or flow.norms.get(norm) != 1:
            continue
        if id(twin) not in back or id(norm) not in back:
            continue
        layer, own = back[id(twin)], back[id(norm)]
        if _is_untouched(layer) and _is_untouched(own) and _is_plain(own) and _fits(layer, own, use.dimensions):
            yield Pair(layer, own, (own, *(back[id(giver)] for giver in use.givers if id(giver) in back)))


def _is_plain(norm: Any) -> bool:
    """True for a norm whose statistics are fixed."""
    return not norm.training and norm.running_mean is not None and norm.running_var is not None


def _is_untouched(part: nn.Module) -> bool:
    """True where nobody hangs on a part: no hooks, and weights that are its own and not computed from others."""
    return not any(getattr(part, name) for name in HOOKS) and not is_parametrized(part)


def _fits(layer: nn.Module, norm: Any, dimensions: int) -> bool:
    """True where the norm's channels are the layer's outputs."""
    weight = layer._parameters.get("weight")  # noqa: SLF001 - a normed weight is an attribute, but no parameter
    if weight is None or isinstance(weight, nn.UninitializedParameter):
        return False
    if isinstance(layer, nn.Linear):
        return bool(
            dimensions == 2 and norm.num_features == layer.out_features
        )  # in rows, channels come before outputs
    return bool(norm.num_features == layer.out_channels)
