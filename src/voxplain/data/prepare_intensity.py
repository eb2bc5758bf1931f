"""Intensity scaling of a prepared tensor, channel by channel, with the derivative that the steps have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError, OptionError

if TYPE_CHECKING:
    from voxplain.data.prepare import Prepare

Channel = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]


def intensities(
    options: Prepare, raw: Values, inside: Truth, channels: Sequence[str]
) -> tuple[Values, tuple[float, ...]]:
    """Raw voxels (channel, i, j, k) scaled and padded, float32, and d(value) / d(raw) of each resulting channel.

    Statistics are taken over the voxels `inside` the image only.
    """
    if options.grey_to_rgb and len(channels) != 1:
        raise InputError(
            f"prepare: grey_to_rgb must start from one channel, got {len(channels)} ({', '.join(channels)}); "
            "choose one with channels"
        )
    scaled = [_scaled(options, values, inside, name) for values, name in zip(raw, channels, strict=True)]
    if options.grey_to_rgb:
        scaled *= 3
    means = _one_each("mean", options.mean, 0.0, len(scaled))
    deviations = _one_each("std", options.std, 1.0, len(scaled))
    out = np.empty((len(scaled), *raw.shape[1:]), dtype=np.float32)
    for n, (values, _) in enumerate(scaled):
        out[n] = (values - means[n]) / deviations[n]
    return out, tuple(gain / deviation for (_, gain), deviation in zip(scaled, deviations, strict=True))


def _scaled(options: Prepare, raw: Values, inside: Truth, name: str) -> tuple[Channel, float]:
    """One channel before mean and std, and its derivative."""
    values, gain = np.asarray(raw, dtype=np.float64), 1.0
    over = inside & (raw != 0) if options.nonzero else inside
    if (options.percentile or options.zscore) and not over.any():
        raise InputError(f"channel {name!r} must have voxels to be scaled by, got none")
    if options.percentile or options.window:
        low, high = options.window or _percentiles(values[over], options.percentile or (0, 100), name)
        values, gain = (np.clip(values, low, high) - low) / (high - low), gain / (high - low)
    if options.zscore:
        mean, deviation = _moments(values[over], name)
        values, gain = (values - mean) / deviation, gain / deviation
    if options.nonzero:
        values = np.where(over, values, 0.0)
    if options.scale is not None:
        values, gain = values * options.scale, gain * options.scale
    return np.where(inside, values, options.pad_value), gain


def _percentiles(chosen: Channel, bounds: tuple[float, float], name: str) -> tuple[float, float]:
    low, high = (float(bound) for bound in np.percentile(chosen, bounds))
    if low >= high:
        raise InputError(
            f"channel {name!r} must differ between its percentiles {bounds[0]:g} and {bounds[1]:g}, "
            f"got {low:g} at both; choose percentiles further apart"
        )
    return low, high


def _moments(chosen: Channel, name: str) -> tuple[float, float]:
    mean, deviation = float(chosen.mean()), float(chosen.std())
    if deviation == 0:
        raise InputError(f"channel {name!r} must not be constant to be scaled to unit deviation, got {mean:g}")
    return mean, deviation


def _one_each(option: str, given: tuple[float, ...] | None, default: float, channels: int) -> tuple[float, ...]:
    values = (default,) if given is None else given
    if len(values) not in (1, channels):
        raise OptionError(f"prepare: {option} must have 1 or {channels} values, one a channel, got {list(values)}")
    return values * channels if len(values) == 1 else values
