"""Maps of one image joined into one, whoever made them: several methods, several models, several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxplain.data.attribution import Attribution
from voxplain.data.certificate import Certificate, Check
from voxplain.data.provenance import Provenance
from voxplain.errors import InputError
from voxplain.methods import Method
from voxplain.ops.fusing import Fusing
from voxplain.spec import build, text
from voxplain.study.certify import not_constant
from voxplain.types import Quantity

NEAR_MM = 1e-3
"""Grids whose corners lie within a micrometre are one grid: files round their affines."""


def fusion(spec: str | Fusing) -> Fusing:
    """The fusion that a spec such as "fusion(rule='median', block=1)" stands for."""
    found: Fusing = build(spec, {Fusing.name: Fusing}, Fusing.name)
    return found


def fuse(maps: Sequence[Attribution], how: str | Fusing = Fusing.name) -> Attribution:
    """Where the maps of one image agree, from 0 to 1, on their common grid; votes and rank correlations come with it.

    The maps may come from several methods and from several models, but must explain the same target and class.
    Raises `InputError` for fewer than two maps, other grids, or maps that explain different things.
    """
    made = fusion(how)
    _check(maps)
    found = made.joined([_tensor(one, made) for one in maps])
    members = [_member(one) for one in maps]
    values = found.values[0].numpy()
    blank = tuple(f"{members[number]} is constant here and adds nothing" for number in found.blank)
    return Attribution(
        values=values,
        **_common(maps),
        quantity=Quantity.SALIENCY,
        method=text(made),
        unit="share of the largest common value",
        parts={"agreement": found.agreement[0].numpy()},
        numbers={
            "rank_correlations": found.correlations[0].tolist(),
            "members": members,
            "scores": [one.numbers.get("score") for one in maps],
            "class": maps[0].numbers.get("class"),
        },
        notes=blank,
        certificate=Certificate((not_constant(torch.as_tensor(values)), *_doubts(maps, members))),
        provenance=Provenance({"fusion": text(made, full=True), "members": [one.provenance.key for one in maps]}),
    )


def _common(maps: Sequence[Attribution]) -> dict[str, Any]:
    """What is the same of all maps; the channels are those of the widest."""
    first = maps[0]
    same = {name: getattr(first, name) for name in ("grid", "target", "target_words", "image")}
    return {**same, "channels": max(maps, key=lambda one: len(one.values)).channels}


def _check(maps: Sequence[Attribution]) -> None:
    if len(maps) < 2:
        raise InputError(f"fusion: at least two maps are needed, got {len(maps)}")
    first = maps[0]
    channels = {one.channels for one in maps if len(one.values) > 1}
    if len(channels) > 1:
        raise InputError(f"fusion: maps must be of the same channels, got {' and '.join(map(str, sorted(channels)))}")
    for one in maps[1:]:
        if one.grid.shape != first.grid.shape or not np.allclose(one.grid.affine, first.grid.affine, atol=NEAR_MM):
            raise InputError(f"fusion: maps must lie on one grid, got {first.grid.shape} and {one.grid.shape}")
        if _explained(one) != _explained(first):
            told = f"{first.target_words or first.target!r} and {one.target_words or one.target!r}"
            raise InputError(f"fusion: maps must explain the same thing, got {told}")


def _explained(one: Attribution) -> tuple[str, Any]:
    return one.target, one.numbers.get("class")


def _tensor(one: Attribution, how: Fusing) -> Tensor:
    """The map (1, channel, i, j, k), its signs left out where they are no evidence."""
    values = torch.as_tensor(np.ascontiguousarray(one.values))[None]
    return values.abs() if one.evidence == "absolute" and how.sign == "positive" else values


def _member(one: Attribution) -> str:
    """Who made a map: the model, where it is known, and the method."""
    model = str(one.provenance.request.get("model", ""))
    name = f"{one.method} at {one.layer}" if one.layer else one.method
    return f"{model}: {name}" if model else name


def _doubts(maps: Sequence[Attribution], members: Sequence[str]) -> list[Check]:
    """What the members' own certificates say against them."""
    return [
        Check("members", "noted", f"{member}: {failure.sentence}")
        for one, member in zip(maps, members, strict=True)
        for failure in one.certificate.failures
    ]


def methods_match(spec: str, asked: Sequence[Method]) -> bool:
    """True where a map's method is one of those asked for (none: any); a bare name stands for any options."""
    wanted = {text(one) for one in asked}
    return not wanted or spec in wanted or spec.partition("(")[0] in wanted
