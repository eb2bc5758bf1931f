"""The report for machines: what the page says, as one JSON document."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from voxplain import __version__
from voxplain.report.cards import CaseCard, MapCard

SCHEMA = "voxplain-report/1"
"""Name and version of the document; the version grows when a key changes its meaning or goes."""


def document(context: Mapping[str, Any]) -> dict[str, Any]:
    """The report as plain JSON values, from what the page's template is given."""
    return {
        "schema": SCHEMA,
        "voxplain": __version__,
        "run": context["name"],
        "counts": context["counts"],
        "missing": list(context["missing"]),
        "warnings": [{"kind": one.label, "where": one.where, "text": one.text} for one in context["warnings"]],
        "cases": [_case(case) for case in context["cases"]],
        "metrics": [asdict(one) for one in context["measures"]],
        "scorecard": [asdict(point) for point in context["scorecard"]],
        "citations": [{"name": name, "citation": citation} for name, citation in context["citations"]],
    }


def _case(case: CaseCard) -> dict[str, Any]:
    return {
        "id": case.identifier,
        "label": case.label,
        "answer": case.prediction.answer,
        "probabilities": [{"class": name, "probability": share} for name, share in case.prediction.probabilities],
        "words": asdict(case.words),
        "facts": dict(case.facts),
        "notices": list(case.notices),
        "maps": [_map(card) for card in case.maps],
        "left_out": [{"method": method, "why": why} for method, why in case.left_out],
        "metrics": [asdict(one) for one in case.measures],
    }


def _map(card: MapCard) -> dict[str, Any]:
    head = {"method": card.method, "target": card.target, "model": card.model}
    if card.picture is None:
        return {**head, "problem": card.problem}
    return {
        **head,
        "file": card.file,
        "layer": card.layer,
        "quantity": str(card.quantity),
        "unit": card.unit,
        "range": list(card.raw),
        "share_in_mask": card.share,
        "mask_share": card.chance,
        "strongest": None if card.spot.none else asdict(card.spot),
        "empty": card.spot.none,
        "doubt": card.doubt,
        "checks": [asdict(check) for check in card.checks],
        "passed": not card.failures,
        "seconds": card.seconds,
        "key": card.key,
    }
