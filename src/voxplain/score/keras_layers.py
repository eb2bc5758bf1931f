"""Keras layers as torch modules with the same weights, channels first: the table by class name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from voxplain.score.keras_convolutions import convolution, depthwise, separable, transposed
from voxplain.score.keras_parts import (
    JOINS,
    Concatenated,
    Cropped,
    Joined,
    Mean,
    OnLast,
    Reordered,
    SameMeanPool,
    Scaled,
)
from voxplain.score.keras_place import NotTranslated, Place, activation, chained, filled, tensor
from voxplain.score.same_padding import SameMaxPool

AUGMENTATIONS = (
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomTranslation",
    "RandomContrast",
    "RandomBrightness",
)
"""Layers that do nothing outside training."""


def translated_layer(layer: Any, place: Place) -> nn.Module:
    """The torch module of a Keras layer; raises `NotTranslated` for one that the table does not know."""
    kind = type(layer).__name__
    if kind not in LAYERS or not type(layer).__module__.startswith("keras."):
        raise NotTranslated(f"is a {kind}")
    if getattr(layer, "compute_dtype", "float32") != "float32":
        raise NotTranslated(f"computes in {layer.compute_dtype}")
    if getattr(layer, "data_format", None) == ("channels_first" if place.last else "channels_last"):
        raise NotTranslated("has its channels elsewhere than other layers")
    return LAYERS[kind](layer, place)


def _dense(layer: Any, place: Place) -> nn.Module:
    kernel = tensor(layer.kernel)
    linear = nn.Linear(kernel.shape[0], kernel.shape[1], bias=layer.use_bias)
    filled(linear, kernel.T, layer.bias if layer.use_bias else None)
    over_map = place.is_map(len(place.shapes[0]))
    return chained(
        linear=OnLast(linear) if over_map else linear, activation=activation(layer.activation, place.axis(-1))
    )


def _batch_norm(layer: Any, place: Place) -> nn.Module:
    axis = place.axis(layer.axis if isinstance(layer.axis, int) else layer.axis[0])
    if axis != 1:
        raise NotTranslated(f"normalises over axis {layer.axis}")
    kinds = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    ndim = len(place.shapes[0])
    if ndim not in kinds:
        raise NotTranslated(f"normalises a tensor of {ndim} axes")
    norm = kinds[ndim](place.channels, eps=layer.epsilon)
    norm.running_mean, norm.running_var = tensor(layer.moving_mean), tensor(layer.moving_variance)
    _scaled(norm, layer)
    return norm


def _scaled(norm: nn.Module, layer: Any) -> None:
    """The factors and shifts of a norm, where the layer has them."""
    if layer.scale:
        norm.weight = nn.Parameter(tensor(layer.gamma))
    if layer.center:
        norm.bias = nn.Parameter(tensor(layer.beta))


def _layer_norm(layer: Any, place: Place) -> nn.Module:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    last = [axis % len(place.shapes[0]) for axis in axes] == [len(place.shapes[0]) - 1]
    if not last:
        raise NotTranslated(f"normalises over axes {axes}")
    norm = nn.LayerNorm(place.shapes[0][-1] or 0, eps=layer.epsilon)
    _scaled(norm, layer)
    return OnLast(norm) if place.is_map(len(place.shapes[0])) else norm


def _group_norm(layer: Any, place: Place) -> nn.Module:
    if place.axis(layer.axis) != 1:
        raise NotTranslated(f"normalises over axis {layer.axis}")
    norm = nn.GroupNorm(place.channels if layer.groups == -1 else layer.groups, place.channels, eps=layer.epsilon)
    _scaled(norm, layer)
    return norm


def _pooling(layer: Any, place: Place) -> nn.Module:
    size, strides, same = layer.pool_size, layer.strides, layer.padding == "same"
    maximum = "Max" in type(layer).__name__
    if same and any(step == 1 and width % 2 == 0 for step, width in zip(strides, size, strict=True)):
        raise NotTranslated("pools an even window at every place")  # rounding up does not add the missing place
    if same:
        return SameMaxPool(size, strides) if maximum else SameMeanPool(size, strides)
    kinds: dict[tuple[bool, int], Any] = {
        (True, 2): nn.MaxPool2d,
        (True, 3): nn.MaxPool3d,
        (False, 2): nn.AvgPool2d,
        (False, 3): nn.AvgPool3d,
    }
    pool: nn.Module = kinds[maximum, len(size)](tuple(size), tuple(strides))
    return pool


def _global_pooling(layer: Any, place: Place) -> nn.Module:
    kinds = {
        (True, 2): nn.AdaptiveMaxPool2d,
        (True, 3): nn.AdaptiveMaxPool3d,
        (False, 2): nn.AdaptiveAvgPool2d,
        (False, 3): nn.AdaptiveAvgPool3d,
    }
    rank = len(place.shapes[0]) - 2
    pool = kinds["Max" in type(layer).__name__, rank](1)
    return chained(pool=pool, flatten=None if layer.keepdims else nn.Flatten())


def _flatten(layer: Any, place: Place) -> nn.Module:
    ndim = len(place.shapes[0])
    turned = place.is_map(ndim) or (not place.last and ndim > 2)  # Keras turns channels last before it flattens
    return Reordered(before=True, after=False, shape=(-1,)) if turned else nn.Flatten()


def _reshape(layer: Any, place: Place) -> nn.Module:
    before, after = place.is_map(len(place.shapes[0])), place.is_map(len(layer.target_shape) + 1)
    return Reordered(before=before, after=after, shape=layer.target_shape)


def _permute(layer: Any, place: Place) -> nn.Module:
    is_map = place.is_map(len(place.shapes[0]))
    return Reordered(before=is_map, after=is_map, axes=layer.dims)


def _rescaling(layer: Any, place: Place) -> nn.Module:
    return Scaled(_a_channel(layer.scale, place), _a_channel(layer.offset, place))


def _normalisation(layer: Any, place: Place) -> nn.Module:
    if layer.invert:
        raise NotTranslated("inverts a normalisation")
    mean, variance = (_a_channel(_numbers(value), place) for value in (layer.mean, layer.variance))
    factor = 1 / variance.sqrt().clamp_min(1e-7)  # Keras's own smallest divisor
    return Scaled(factor, -mean * factor)


def _numbers(value: Any) -> Any:
    return tensor(value).numpy() if hasattr(value, "numpy") else value


def _a_channel(value: Any, place: Place) -> Tensor:
    """One number, or one a channel, so that it multiplies the first input as it lies here."""
    numbers = torch.as_tensor(np.array(value, dtype=np.float32)).flatten()
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) != place.channels:
        raise NotTranslated(f"has {len(numbers)} numbers for {place.channels} channels")
    shape = [1] * len(place.shapes[0])
    shape[place.axis(-1 if place.last else 1)] = -1
    return numbers.reshape(shape)


def _rectified(layer: Any, place: Place) -> nn.Module:
    shape = (layer.max_value, float(layer.negative_slope), float(layer.threshold))
    if shape == (None, 0.0, 0.0):
        return nn.ReLU()
    if shape == (6, 0.0, 0.0):
        return nn.ReLU6()
    if shape[0] is None and shape[2] == 0:
        return nn.LeakyReLU(shape[1])
    raise NotTranslated("is a ReLU with a threshold or another ceiling than 6")


def _parametric(layer: Any, place: Place) -> nn.Module:
    slopes = tensor(layer.alpha).flatten()
    if len(slopes) not in (1, place.channels):
        raise NotTranslated("has a slope for every place")
    return filled(nn.PReLU(len(slopes)), slopes, None)


def _activation(layer: Any, place: Place) -> nn.Module:
    return activation(layer.activation, place.axis(-1 if place.last else 1)) or nn.Identity()


def _softmax(layer: Any, place: Place) -> nn.Module:
    return nn.Softmax(dim=place.axis(layer.axis))


def _concatenated(layer: Any, place: Place) -> nn.Module:
    return Concatenated(place.axis(layer.axis))


def _upsampled(layer: Any, place: Place) -> nn.Module:
    mode = getattr(layer, "interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        raise NotTranslated(f"enlarges by {mode}")
    return nn.Upsample(scale_factor=tuple(float(step) for step in layer.size), mode=mode)


def _padding(layer: Any) -> Any:
    """Voxels before and after each axis, from the last axis on, as torch counts."""
    return tuple(count for pair in reversed(layer.padding) for count in pair)


LAYERS: dict[str, Callable[[Any, Place], nn.Module]] = {
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "Rescaling": _rescaling,
    "Normalization": _normalisation,
    "Activation": _activation,
    "ReLU": _rectified,
    "LeakyReLU": lambda layer, place: nn.LeakyReLU(float(layer.negative_slope)),
    "PReLU": _parametric,
    "ELU": lambda layer, place: nn.ELU(float(layer.alpha)),
    "Softmax": _softmax,
    "Concatenate": _concatenated,
    "Average": lambda layer, place: Mean(),
    **dict.fromkeys(("Conv2D", "Conv3D"), convolution),
    "DepthwiseConv2D": depthwise,
    "SeparableConv2D": separable,
    **dict.fromkeys(("Conv2DTranspose", "Conv3DTranspose"), transposed),
    **dict.fromkeys(("MaxPooling2D", "MaxPooling3D", "AveragePooling2D", "AveragePooling3D"), _pooling),
    **dict.fromkeys(("GlobalMaxPooling2D", "GlobalMaxPooling3D"), _global_pooling),
    **dict.fromkeys(("GlobalAveragePooling2D", "GlobalAveragePooling3D"), _global_pooling),
    "ZeroPadding2D": lambda layer, place: nn.ZeroPad2d(_padding(layer)),
    "ZeroPadding3D": lambda layer, place: nn.ZeroPad3d(_padding(layer)),
    **dict.fromkeys(("Cropping2D", "Cropping3D"), lambda layer, place: Cropped(layer.cropping)),
    **dict.fromkeys(("UpSampling2D", "UpSampling3D"), _upsampled),
    **dict.fromkeys(JOINS, lambda layer, place: Joined(type(layer).__name__)),
    **dict.fromkeys(("Dropout", "SpatialDropout2D", "SpatialDropout3D"), lambda layer, place: nn.Dropout(layer.rate)),
    **dict.fromkeys(
        ("Identity", "ActivityRegularization", "GaussianNoise", "StochasticDepth"), lambda layer, place: nn.Identity()
    ),
    "LayerScale": lambda layer, place: Scaled(_a_channel(_numbers(layer.gamma), place), torch.zeros(())),
    **dict.fromkeys(AUGMENTATIONS, lambda layer, place: nn.Identity()),
}
"""Class of a Keras layer to its translation."""
