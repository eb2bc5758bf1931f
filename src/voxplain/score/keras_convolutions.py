"""Keras's convolutions as torch modules: plain, depthwise, separable and transposed."""

from typing import Any

from torch import Tensor, nn

from voxplain.score.keras_parts import Cropped
from voxplain.score.keras_place import NotTranslated, Place, activation, chained, filled, tensor
from voxplain.score.same_padding import SamePad

CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def convolution(layer: Any, place: Place) -> nn.Module:
    """Padding, convolution and activation of Conv2D and Conv3D."""
    kernel = tensor(layer.kernel)
    parts = _padded(layer, kernel.movedim((-1, -2), (0, 1)), layer.bias if layer.use_bias else None, layer.groups)
    return chained(**parts, activation=activation(layer.activation, _channel_axis(layer, place)))


def depthwise(layer: Any, place: Place) -> nn.Module:
    """The same of DepthwiseConv2D."""
    weight = _depthwise_weight(tensor(layer.kernel))
    parts = _padded(layer, weight, layer.bias if layer.use_bias else None, place.channels)
    return chained(**parts, activation=activation(layer.activation, _channel_axis(layer, place)))


def separable(layer: Any, place: Place) -> nn.Module:
    """A depthwise convolution, a pointwise one and the activation of SeparableConv2D."""
    weight = _depthwise_weight(tensor(layer.depthwise_kernel))
    parts = _padded(layer, weight, None, place.channels)
    pointwise = tensor(layer.pointwise_kernel).movedim((-1, -2), (0, 1))
    point = filled(
        nn.Conv2d(pointwise.shape[1], pointwise.shape[0], 1, bias=layer.use_bias),
        pointwise,
        layer.bias if layer.use_bias else None,
    )
    end = activation(layer.activation, _channel_axis(layer, place))
    return chained(pad=parts.get("pad"), depthwise=parts["conv"], pointwise=point, activation=end)


def transposed(layer: Any, place: Place) -> nn.Module:
    """Transposed convolution, a cut where Keras pads "same", and activation."""
    width, step = layer.kernel_size, layer.strides
    if any(k < s for k, s in zip(width, step, strict=True)) or layer.output_padding is not None:
        raise NotTranslated("is a transposed convolution with gaps or an output padding")
    if any(rate != 1 for rate in layer.dilation_rate):
        raise NotTranslated("is a dilated transposed convolution")
    weight = tensor(layer.kernel).movedim((-1, -2), (0, 1))
    kind = TRANSPOSED[len(width)]
    conv = filled(
        kind(*weight.shape[:2], tuple(width), tuple(step), bias=layer.use_bias),
        weight,
        layer.bias if layer.use_bias else None,
    )
    cuts = [((k - s) // 2, k - s - (k - s) // 2) for k, s in zip(width, step, strict=True)]
    crop = Cropped(cuts) if layer.padding == "same" and any(map(any, cuts)) else None
    return chained(conv=conv, crop=crop, activation=activation(layer.activation, _channel_axis(layer, place)))


def _depthwise_weight(kernel: Tensor) -> Tensor:
    """Torch's weight (channel * multiplier, 1, *space) of Keras's kernel (*space, channel, multiplier)."""
    space = kernel.shape[:-2]
    return kernel.movedim((-2, -1), (0, 1)).reshape(-1, 1, *space)


def _padded(layer: Any, weight: Tensor, bias: Any, groups: int) -> dict[str, nn.Module]:
    """The convolution with this weight, and what pads before it where torch's own padding cannot."""
    width, step, rate = layer.kernel_size, tuple(layer.strides), tuple(layer.dilation_rate)
    if layer.padding not in ("same", "valid"):
        raise NotTranslated(f"has padding {layer.padding!r}")
    spans = [(k - 1) * d for k, d in zip(width, rate, strict=True)]
    even = layer.padding == "same" and all(s == 1 for s in step) and not any(span % 2 for span in spans)
    conv = CONVOLUTION[len(width)](
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(width),
        stride=step,
        padding=tuple(span // 2 for span in spans) if even else 0,
        dilation=rate,
        groups=groups,
        bias=bias is not None,
    )
    parts: dict[str, nn.Module] = {"conv": filled(conv, weight, bias)}
    return parts if even or layer.padding == "valid" else {"pad": SamePad(width, step, rate), **parts}


def _channel_axis(layer: Any, place: Place) -> int:
    return place.axis(-1 if place.last else 1)
