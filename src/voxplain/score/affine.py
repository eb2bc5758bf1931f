"""Whether a score is an affine function of a layer's activations: then its gradient there tells any change of them.

A dry pass finds out, on shapes alone: each operation that anything from the layer enters, up to the score, must be
known as linear in what enters. Whatever is not known is taken to be nonlinear, comparisons and detached copies too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from voxplain.score.call import Call
from voxplain.score.choice import Choice
from voxplain.score.dry import remembered, visits
from voxplain.score.output import pick, tensors
from voxplain.score.score import Score

JOINTLY = (
    "add", "radd", "iadd", "sub", "rsub", "isub", "neg", "sum", "mean", "cat", "concat", "concatenate", "stack",
    "split", "chunk", "unbind", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "interpolate", "pad", "view", "view_as", "unsafe_view", "reshape", "reshape_as",
    "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "swapaxes", "swapdims", "movedim",
    "moveaxis", "t", "contiguous", "clone", "expand", "expand_as", "repeat", "flip", "roll", "pixel_shuffle", "to",
    "to_copy", "double", "float", "type", "type_as", "getitem", "select", "narrow", "where", "gather", "index_select",
    "masked_fill",
)  # fmt: skip
"""Operations that are affine in all their tensors together."""

SINGLY = (
    "linear", "conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "mul", "rmul", "imul", "multiply", "matmul", "rmatmul", "mm", "bmm", "addmm",
)  # fmt: skip
"""Operations that are affine in one tensor while the others are constant."""

QUOTIENTS = ("div", "truediv", "itruediv", "divide")
"""Operations that are affine in their first tensor."""

SWITCHES = {"batch_norm": 5, "dropout": 2, "dropout1d": 2, "dropout2d": 2, "dropout3d": 2}
"""Operations that are affine unless they train, and the place of the argument that says so."""


def affine_from(score: Score, x: Tensor, layer: str) -> bool:
    """True where the score of images like `x` is known to be affine in the activations of `layer`; runs no forward."""
    network, kind = score.model.module, (x.shape[1:], layer, str(score.target), score.model.head, score.model.output)
    return remembered(network, ("affine", *kind), lambda: _found_affine(score, x, layer))


def _found_affine(score: Score, x: Tensor, layer: str) -> bool:
    verdicts: list[bool] = []

    def meant(output: tuple[object, _Watch]) -> Tensor:
        picked, watch = pick(output[0], score.model.output), output[1]
        with watch:
            picked = picked[:, None] if picked.ndim == 1 else picked
            values = score.target.read(picked, _any_choice(picked), score.model.head)
        verdicts.append(watch.affine and watch.reaches(values))
        return values

    watched = _Watched(score.model.module, score.model.layer(layer))
    visits(watched, score.model.filled(x[:1]), {}, meant)  # type: ignore[arg-type]
    return verdicts == [True]


def _any_choice(output: Tensor) -> Choice:
    """A choice with every part that a target may read: which class and where does not change what is linear."""
    count = output.shape[0]
    first = torch.zeros(count, dtype=torch.long, device=output.device)
    region = torch.ones((count, *output.shape[2:]), dtype=torch.bool, device=output.device)
    return Choice(first, first, region)


class _Watched(nn.Module):
    """A network that also gives the watch over what came from one of its layers."""

    def __init__(self, network: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, x: Tensor) -> "tuple[object, _Watch]":
        """The network's output, and the watch."""
        watch = _Watch()
        handle = self.layer.register_forward_hook(watch.start)
        try:
            with watch:
                return self.network(x), watch
        finally:
            handle.remove()


class _Watch(TorchFunctionMode):
    """Follows whatever is computed from a layer's output, and whether all of it is affine in that output."""

    def __init__(self) -> None:
        super().__init__()
        self.affine = True
        self._reached: dict[int, Tensor] = {}  # kept alive, so that no other tensor takes over a number

    def start(self, module: nn.Module, inputs: object, output: object) -> None:
        """From now on the output of the layer is followed."""
        self._follow(output)

    def reaches(self, tensor: Tensor) -> bool:
        """True for a tensor that something from the layer entered."""
        return id(tensor) in self._reached

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and judge it."""
        call = Call.of(func, args, kwargs)
        entered = [self.reaches(tensor) for tensor in call.tensors()]
        out = func(*args, **(kwargs or {}))
        given = [tensor for _, tensor in tensors(out)]
        if any(entered) and (given or out is None):  # plain numbers of a run on shapes say nothing about values
            floating = all(tensor.is_floating_point() for tensor in given)
            written_over = out is call.first and not entered[0]  # what it was a view of is not followed
            self.affine = self.affine and floating and not written_over and _is_affine(call, entered)
            self._follow(out)
        return out

    def _follow(self, output: object) -> None:
        self._reached.update({id(tensor): tensor for _, tensor in tensors(output)})


def _is_affine(call: Call, entered: list[bool]) -> bool:
    """True where an operation is known to be affine in those of its tensors that come from the layer."""
    if call.name in SWITCHES:
        return sum(entered) == 1 and not call.at(SWITCHES[call.name], "training", True)
    if call.name in QUOTIENTS:
        return entered[0] and not any(entered[1:])
    if call.name in SINGLY:
        return sum(entered) == 1
    return call.name in JOINTLY
