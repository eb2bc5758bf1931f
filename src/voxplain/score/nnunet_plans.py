"""What the plans of an nnU-Net v2 say: its configuration, its labels, and the preparation of its images."""

from collections.abc import Mapping, Sequence
from typing import Any

from voxplain.errors import InputError, unknown

Document = dict[str, Any]

SMALLEST = 1e-8
"""The least standard deviation that nnU-Net divides by."""


def configuration(plans: Document, name: str) -> Document:
    """The configuration of that name with what it inherits from others."""
    table = plans.get("configurations", {})
    if name not in table:
        raise unknown("nnU-Net configuration", name, table)
    found: Document = dict(table[name])
    parent = found.pop("inherits_from", None)
    found = {**configuration({"configurations": _without(table, name)}, parent), **found} if parent else found
    if found.get("previous_stage"):
        raise InputError(
            f"nnU-Net configuration {name!r} is the second stage of a cascade, which needs the first's map"
        )
    if not parent and "architecture" not in found:
        raise InputError(f"nnU-Net configuration {name!r} must describe its architecture, as nnU-Net 2.4 and later do")
    return found


def _without(table: Mapping[str, Any], name: str) -> Document:
    """The other configurations: none may inherit from itself."""
    return {key: value for key, value in table.items() if key != name}


def is_by_regions(about: Document) -> bool:
    """True where a voxel may belong to several regions."""
    return any(isinstance(value, list | tuple) and len(value) > 1 for value in about["labels"].values())


def label_names(about: Document) -> tuple[str, ...]:
    """Names of the network's output channels: labels by number, or regions in their order; never 'ignore'."""
    labels = {str(name): value for name, value in about["labels"].items() if name != "ignore"}
    if is_by_regions(about):
        return tuple(name for name, value in labels.items() if value != 0)
    return tuple(sorted(labels, key=lambda name: _number(labels[name])))


def _number(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)


def preparation(plans: Document, name: str) -> tuple[Document, tuple[str, ...]]:
    """The options of a `Prepare` that come nearest to the preprocessing of a configuration, and what differs.

    nnU-Net counts a volume's axes from the last: spacings are turned round.
    """
    chosen = configuration(plans, name)
    spacing = _image_order(chosen["spacing"], plans["transpose_forward"])
    options: Document = {"spacing_mm": spacing}
    if "Reorient" in str(plans.get("image_reader_writer", "")):
        options["orientation"] = "RAS"
    intensities = [_intensities(chosen, plans, number) for number in range(len(chosen["normalization_schemes"]))]
    if any(one != intensities[0] for one in intensities):
        raise InputError(f"nnU-Net configuration {name!r} treats its channels differently, which no preparation can")
    differs = ["voxels are resampled linearly and before intensities are scaled"]
    if intensities[0].get("nonzero"):
        differs.append("what is zero is taken voxel by voxel and not as one filled region")
    return {**options, **intensities[0]}, tuple(differs)


def _image_order(values: Sequence[float], transpose: Sequence[int]) -> tuple[float, ...]:
    """Values a network axis as values an image axis: (i, j, k), or (rows, columns) of a slice."""
    if len(values) == 2:
        return tuple(values)
    turned = [0.0] * 3
    for axis, value in zip(transpose, values, strict=True):
        turned[2 - axis] = value
    return tuple(turned)


def _intensities(chosen: Document, plans: Document, channel: int) -> Document:
    """Options of one channel's scheme."""
    scheme = str(chosen["normalization_schemes"][channel])
    if scheme == "ZScoreNormalization":
        return {"zscore": True, "nonzero": True} if chosen["use_mask_for_norm"][channel] else {"zscore": True}
    if scheme == "CTNormalization":
        return _window(plans["foreground_intensity_properties_per_channel"][str(channel)])
    if scheme == "RescaleTo01Normalization":
        return {"percentile": (0.0, 100.0)}
    if scheme == "RGBTo01Normalization":
        return {"scale": 1 / 255}
    if scheme == "NoNormalization":
        return {}
    raise InputError(f"nnU-Net's normalisation {scheme!r} is none that a preparation knows")


def _window(told: Mapping[str, float]) -> Document:
    """Clipping to two percentiles of the training data, then their mean and deviation, of values stretched to 0..1."""
    low, high = float(told["percentile_00_5"]), float(told["percentile_99_5"])
    span = high - low
    deviation = max(float(told["std"]), SMALLEST)
    return {"window": (low, high), "mean": ((float(told["mean"]) - low) / span,), "std": (deviation / span,)}
