"""Which rule fits an operation: known by its name and its arguments, or none where all of the map is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from voxplain.score.operation import tensors_in
from voxplain.score.windows_kernels import adaptive_avg_pool, avg_pool, convolution, max_pool, upsample
from voxplain.score.windows_operations import Pointwise, Rule, Sliding
from voxplain.score.windows_step import Ref, Step


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALONE = _words("""
    abs alias celu clamp clamp_max clamp_min clone contiguous detach elu erf exp gelu hardsigmoid hardswish hardtanh
    leaky_relu lift_fresh log log1p log_sigmoid_forward mish neg pow _prelu_kernel reciprocal relu rsqrt rsub selu
    sigmoid silu sin cos softplus softshrink hardshrink sqrt square tanh threshold _to_copy relu6 sign expm1
    native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm native_dropout
""")
"""One map in, one map out, each voxel on its own: nothing around a changed part is ever needed."""

TOGETHER = _words("""
    add sub mul div true_divide maximum minimum fmax fmin where addcmul addcdiv lerp eq ne gt ge lt le logical_and
    logical_or logical_not masked_fill fmod remainder atan2 copy
""")
"""Voxel by voxel, from one or several maps."""

NORMS = {"native_batch_norm": 5, "_native_batch_norm_legit_no_training": None, "cudnn_batch_norm": 5}
"""Where a norm's arguments say that it is training."""


def rule_for(step: Step, spatial: set[int], rank: int) -> Rule | None:
    """The rule of an operation all of whose followed inputs are maps of which parts change; else None."""
    if not all(number in spatial for number in step.inputs):
        return None
    if any(len(shape) < rank + 2 or shape[0] != 1 for shape in (*step.shapes, step.result_shapes[0])):
        return None
    reader = _READERS.get(step.name)
    if reader is not None:
        return reader(step, rank)
    if step.name in ALONE or step.name in TOGETHER:
        return _elementwise(step, rank)
    return None


def alone(step: Step, spatial: set[int], rank: int) -> bool:
    """True where an operation works on each voxel of one map alone and keeps its shape."""
    if step.name not in ALONE or len(step.inputs) != 1:
        return False
    return rule_for(replace(step, result_shapes=step.shapes), spatial, rank) is not None


def _sides(step: Step, rank: int) -> tuple[int, ...]:
    return step.result_shapes[0][-rank:]


def _pointwise(step: Step, rank: int, run: Any = None) -> Pointwise | None:
    """A rule for an operation that leaves the spatial axes, the last ones, alone."""
    sides = _sides(step, rank)
    if any(shape[-rank:] != sides for shape in (*step.shapes, *step.result_shapes[:1])):
        return None
    return Pointwise(sides, 0.0, run or (lambda parts, size: step.run(parts)))


def _elementwise(step: Step, rank: int) -> Rule | None:
    for constant in tensors_in([step.arguments, list(step.options.values())]):
        varies = constant.ndim > 0 and any(side != 1 for side in constant.shape[-rank:])
        if varies and step.name not in NORMS:
            return None
    place = NORMS.get(step.name)
    if place is not None and step.argument(place, "training", False):
        return None
    if step.name == "native_dropout" and step.argument(2, "train", False):
        return None
    return _pointwise(step, rank)


def _inner(dims: Any, ndim: int, rank: int) -> bool:
    """True where dimensions are neither the samples nor spatial."""
    listed = dims if isinstance(dims, Sequence) else [dims]
    return bool(listed) and all(0 < int(dim) % ndim < ndim - rank for dim in listed)


def _over(place: int, default: Any = None) -> Callable[[Step, int], Rule | None]:
    """A rule for operations along the dimension or dimensions given at that place."""

    def rule(step: Step, rank: int) -> Rule | None:
        dims = step.argument(place, "dim", default)
        return _pointwise(step, rank) if dims is not None and _inner(dims, len(step.shapes[0]), rank) else None

    return rule


def _cat(step: Step, rank: int) -> Rule | None:
    constants = list(tensors_in([step.arguments, list(step.options.values())]))
    return None if constants else _over(1, 0)(step, rank)


def _slice(step: Step, rank: int) -> Rule | None:
    ndim = len(step.shapes[0])
    dim = int(step.argument(1, "dim", 0)) % ndim
    if 0 < dim < ndim - rank:
        return _pointwise(step, rank)
    if dim == 0:
        return _pointwise(step, rank) if step.result_shapes[0] == step.shapes[0] else None
    start, hop = step.argument(2, "start", None) or 0, step.argument(4, "step", 1)
    length = step.shapes[0][dim]
    start = max(0, min(start + length if start < 0 else start, length))
    axis = dim - (ndim - rank)
    stride, first = [1] * rank, [0] * rank
    stride[axis], first[axis] = hop, start
    index = (slice(None),) * dim + (slice(None, None, hop),)
    return Sliding(_sides(step, rank), 0.0, lambda part: part[index], tuple(stride), tuple(first), (1,) * rank)


def _constant_pad(step: Step, rank: int) -> Rule | None:
    amounts = [int(amount) for amount in step.argument(1, "pad")]
    amounts += [0] * (2 * rank - len(amounts))
    if any(amounts[2 * rank :]):
        return None
    before = tuple(-amounts[2 * (rank - 1 - axis)] for axis in range(rank))
    value = float(step.argument(2, "value", 0) or 0)
    ones = (1,) * rank
    return Sliding(_sides(step, rank), 0.0, lambda part: part, ones, before, ones, value)


def _view(step: Step, rank: int) -> Rule | None:
    shape = step.result_shapes[0]
    return _pointwise(step, rank, lambda parts, size: [parts[0].reshape(-1, *shape[1:-rank], *size)])


def _permute(step: Step, rank: int) -> Rule | None:
    ndim = len(step.shapes[0])
    dims = [int(dim) % ndim for dim in step.argument(1, "dims")]
    kept = [0, *range(ndim - rank, ndim)]
    return _pointwise(step, rank) if all(dims[dim] == dim for dim in kept) else None


def _swap(step: Step, rank: int) -> Rule | None:
    return _pointwise(step, rank) if _inner(step.arguments[1:3], len(step.shapes[0]), rank) else None


def _unsqueeze(step: Step, rank: int) -> Rule | None:
    ndim = len(step.shapes[0])
    dim = int(step.argument(1, "dim")) % (ndim + 1)
    return _pointwise(step, rank, lambda parts, size: [parts[0].unsqueeze(dim)]) if 0 < dim <= ndim - rank else None


def batchwise(step: Step) -> bool:
    """True where an operation on stacked samples is known to work on each of them alone, given axis 0 counts them."""
    if any(not shape or shape[0] != 1 for shape in (*step.shapes, *step.result_shapes)):
        return False
    if step.name in TOGETHER or step.name in ALONE:
        training = step.name in NORMS and NORMS[step.name] is not None and step.argument(5, "training", False)
        return not training and len({len(shape) for shape in step.shapes}) == 1
    place = _DIMENSIONS.get(step.name)
    if place is not None:
        dims = step.argument(place, "dim", 0 if step.name in ("cat", "unbind", "split") else None)
        listed = dims if isinstance(dims, Sequence) else [dims]
        held = any(isinstance(value, Tensor) for value in tensors_in([step.arguments]))
        return None not in listed and not held and all(int(dim) % len(step.shapes[0]) != 0 for dim in listed)
    if step.name in ("addmm", "mm"):
        return sum(isinstance(value, Ref) for value in step.arguments) == 1 and isinstance(step.arguments[-2], Ref)
    return step.name in _SAMPLEWISE and isinstance(step.arguments[0], Ref) and len(step.inputs) == 1


_DIMENSIONS = {
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "_softmax", "_log_softmax", "cat", "select", "slice"), 1),
    **dict.fromkeys(("split", "split_with_sizes"), 2),
}
"""Operations along dimensions, and the place of these among their arguments."""

_SAMPLEWISE = _words("""
    convolution max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d
    _adaptive_avg_pool3d constant_pad_nd reflection_pad2d reflection_pad3d replication_pad2d replication_pad3d
    upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_bilinear2d
    upsample_trilinear3d upsample_bicubic2d native_layer_norm pixel_shuffle
""")
"""Operations whose first dimension counts samples."""

_READERS: dict[str, Callable[[Step, int], Rule | None]] = {
    "convolution": convolution,
    "max_pool2d_with_indices": max_pool,
    "max_pool3d_with_indices": max_pool,
    "avg_pool2d": avg_pool,
    "avg_pool3d": avg_pool,
    "_adaptive_avg_pool2d": adaptive_avg_pool,
    "_adaptive_avg_pool3d": adaptive_avg_pool,
    "constant_pad_nd": _constant_pad,
    "slice": _slice,
    "cat": _cat,
    "view": _view,
    "_unsafe_view": _view,
    "reshape": _view,
    "permute": _permute,
    "transpose": _swap,
    "unsqueeze": _unsqueeze,
    "squeeze": _view,
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "_softmax", "_log_softmax"), _over(1)),
    **dict.fromkeys(("unbind",), _over(1, 0)),
    **dict.fromkeys(("select",), _over(1)),
    **dict.fromkeys(("split", "split_with_sizes"), _over(2, 0)),
    **dict.fromkeys(
        (f"{kind}{rank}d" for kind in ("upsample_nearest", "_upsample_nearest_exact") for rank in (2, 3)),
        upsample(False),
    ),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"), upsample(True)),
}
