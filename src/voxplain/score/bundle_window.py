"""The sliding window that a MONAI bundle's configuration describes, as far as it is plain values."""

from collections.abc import Mapping, Sequence
from typing import Any

from voxplain.score.sliding import SlidingWindow

INFERER = "SlidingWindowInferer"

USUAL = {"roi_size": None, "overlap": 0.25, "mode": "constant", "sigma_scale": 0.125, "padding_mode": "constant"}
"""MONAI's options of it that change the answer, with their defaults."""


def bundle_window(config: Mapping[str, Any]) -> SlidingWindow | None:
    """The window of the configuration's inferer; None where it has none, or one that cannot be read as it stands."""
    found = config.get("inferer")
    if not isinstance(found, Mapping) or not str(found.get("_target_", "")).endswith(INFERER):
        return None
    roi, overlap, mode, sigma, padding = (_plain(config, found.get(key, usual)) for key, usual in USUAL.items())
    sides = [roi] if isinstance(roi, int) else roi
    whole = isinstance(sides, Sequence) and all(isinstance(side, int) and side > 0 for side in sides)
    numbers = all(isinstance(one, int | float) for one in (overlap, sigma))
    if not whole or not numbers or mode not in ("constant", "gaussian") or padding != "constant":
        return None
    return SlidingWindow(roi=tuple(sides), overlap=overlap, blend=mode, sigma=sigma)


def _plain(config: Mapping[str, Any], value: Any) -> Any:
    """A value, or what it refers to with '@'."""
    if isinstance(value, str) and value.startswith("@"):
        return config.get(value[1:])
    return [_plain(config, one) for one in value] if isinstance(value, list) else value
