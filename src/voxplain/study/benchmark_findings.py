"""Whether a published finding holds here: SmoothGrad localises diffuse signals better than Grad-CAM and LRP.

Siegel et al. 2025 found that on networks of brain MRI whose signal sources were known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxplain.spec import parse
from voxplain.study.benchmark_board import Scored
from voxplain.study.statistics import differences

PHANTOM, BETTER, OTHERS = "diffuse", "smoothgrad", ("grad_cam", "lrp")

LEVEL = 0.05


def diffuse_finding(found: Mapping[str, Scored]) -> dict[str, Any] | None:
    """Paired differences of skill over the heads with a diffuse feature, every form of SmoothGrad against the others.

    None where one of the methods, or the phantom, was not ranked.
    """
    heads = {name: one.of(PHANTOM) for name, one in found.items() if not one.control}
    there = {name: own for name, own in heads.items() if own}
    pairs = [(one, other) for one in there if _name(one) == BETTER for other in there if _name(other) in OTHERS]
    if {_name(name) for pair in pairs for name in pair} != {BETTER, *OTHERS}:
        return None
    told = [one.to_table() for one in differences(there, pairs)]
    return {"phantom": PHANTOM, "pairs": [{**one, "verdict": _verdict(one)} for one in told]}


def _name(method: str) -> str:
    return parse(method, "method").name


def _verdict(pair: Mapping[str, Any]) -> str:
    if pair["p_holm"] >= LEVEL:
        return "no difference found"
    return "holds" if pair["difference"] > 0 else "the other way round"
