"""The bias that one operation of a network adds to its output.

Convolutions, linear layers and norms add their own, a batch norm its shift less its scaled mean; so does a tensor that
is added by hand. An activation that is not piecewise linear through zero adds, where it stands, what its tangent gives
for zero (the implicit bias of Srinivas and Fleuret).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from voxplain.score.call import Call

LAST, CHANNEL = "last", "channel"

BIASED = {
    "linear": (2, LAST),
    "layer_norm": (3, LAST),
    "group_norm": (3, CHANNEL),
    **{f"conv{rank}d": (2, CHANNEL) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": (2, CHANNEL) for rank in (1, 2, 3)},
    "convolution": (2, CHANNEL),
    "addmm": (0, LAST),
}
"""Operation -> at which place its bias is given, and along which dimension of the output it goes."""

STATISTICS = ("running_mean", "running_var", "weight", "bias")
"""What a norm is given besides its input, in the order of `torch.nn.functional`."""

NORMS = {"batch_norm": (5, 7), "instance_norm": (5, 7), "native_batch_norm_legit_no_training": (99, 6)}
"""Norms that may have fixed statistics -> where they are told to measure them instead, and their epsilon."""

CURVED = (
    "relu6", "hardtanh", "clamp", "gelu", "silu", "elu", "selu", "celu", "sigmoid", "hardsigmoid", "tanh", "softplus",
    "softsign", "logsigmoid", "log_sigmoid", "mish", "hardswish",
)  # fmt: skip
"""Activations with an implicit bias."""


def added(func: Callable[..., Any], call: Call) -> Tensor | None:
    """What an operation adds to each value of its output, in a shape that broadcasts to it; None where it adds nothing.

    To be asked before the operation runs: it may change its input. A norm that measures its statistics on the image
    itself adds its own bias only.
    """
    if call.name == "add":
        return _constant(call)
    if call.name in NORMS:
        return _shift(func, call)
    if call.name in CURVED:
        return _tangent_at_zero(func, call)
    if call.name not in BIASED:
        return None
    place, along = BIASED[call.name]
    bias = call.at(place, "bias", None)
    return bias if bias is None or along == LAST else _along_channels(bias, call)


def _along_channels(bias: Tensor, call: Call) -> Tensor:
    first = call.first
    return bias if first is None else bias.reshape(-1, *[1] * (first.ndim - 2))


def _shift(func: Callable[..., Any], call: Call) -> Tensor | None:
    """The shift of a norm, less its scaled mean where the statistics are fixed: what it gives for an input of zero."""
    ours = func in (functional.batch_norm, functional.instance_norm)  # torch's own take the weights first
    mean, variance, weight, bias = (
        call.at(1 + (n if ours else (n + 2) % 4), name, None) for n, name in enumerate(STATISTICS)
    )
    asked, epsilon = NORMS[call.name]
    measured = bool(call.at(asked, "training" if call.name == "batch_norm" else "use_input_stats", False))
    if mean is None or variance is None or measured:
        return None if bias is None else _along_channels(bias, call)
    scale = (variance + call.at(epsilon, "eps", 1e-5)).rsqrt() * (1 if weight is None else weight)
    return _along_channels((0 if bias is None else bias) - mean * scale, call)


def _constant(call: Call) -> Tensor | None:
    """The one of two summands that does not depend on the image."""
    both = list(call.tensors())
    if len(both) != 2 or call.kwargs.get("alpha", 1) != 1 or both[0].requires_grad == both[1].requires_grad:
        return None
    constant = both[0] if both[1].requires_grad else both[1]
    return constant if torch.is_floating_point(constant) and constant.ndim else None


def _tangent_at_zero(func: Callable[..., Any], call: Call) -> Tensor | None:
    """The value of an activation less its slope times its input."""
    first = call.first
    if first is None or not first.requires_grad:
        return None
    with torch.enable_grad():
        leaf = first.detach().clone().requires_grad_()
        copy = leaf.clone()  # the operation may work in place
        named = {} if call.args else {"input": copy}
        value = func(*([copy] if call.args else []), *call.args[1:], **{**call.kwargs, **named})
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    bias: Tensor = value.detach() - slope * leaf.detach()
    return bias
