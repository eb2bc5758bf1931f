"""What an audit adds up to: whether there is a shortcut, and which methods to trust for this model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from voxplain.study.audit_places import ALONG, CORNERS, OUTSIDE
from voxplain.study.audit_verdict import Outcome, Verdict, listed

OF_METHODS = ("sanity", "planted", "agreement", "truthfulness", "certificates", "stability")
"""Checks that speak of a method, not of the model, those that weigh most first."""

DECISIVE = ("sanity", "planted", "certificates")
"""A method that fails one of these is not recommended, whatever the others say."""

OF_MODEL = ("wiping", CORNERS, ALONG, OUTSIDE, "clusters")
"""Checks that speak of what the model looks at."""

Advice = Literal["trust", "with care", "do not use"]


@dataclass(frozen=True)
class Advised:
    """What is advised about one method, and why."""

    method: str
    advice: Advice
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """Which methods to trust for this model."""

    methods: tuple[Advised, ...]
    """The best first."""
    sentence: str

    def to_table(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def recommend(verdicts: Sequence[Verdict], methods: Sequence[str]) -> Recommendation:
    """Methods by what the checks found about them.

    'trust': no check found anything and sanity was measured; 'do not use': a decisive check failed, or two others;
    'with care': all else.
    """
    checks = {one.check: one for one in verdicts}
    told = {name: {check: _outcome(checks, check, name) for check in OF_METHODS} for name in methods}
    advised = [Advised(name, _advice(own), _reasons(checks, name, own)) for name, own in told.items()]
    order = {"trust": 0, "with care": 1, "do not use": 2}
    advised.sort(key=lambda one: (order[one.advice], _bad(told[one.method])))
    return Recommendation(tuple(advised), _sentence(advised))


def _outcome(checks: Mapping[str, Verdict], check: str, method: str) -> Outcome:
    found = checks[check].of(method) if check in checks else None
    return "not applicable" if found is None else found.outcome


def _advice(own: Mapping[str, Outcome]) -> Advice:
    failed = [check for check, outcome in own.items() if outcome == "fail"]
    if any(check in DECISIVE for check in failed) or len(failed) > 1:
        return "do not use"
    return "with care" if failed or "look" in own.values() or own["sanity"] == "not applicable" else "trust"


def _bad(own: Mapping[str, Outcome]) -> tuple[int, int]:
    outcomes = list(own.values())
    return 2 * outcomes.count("fail") + outcomes.count("look"), -outcomes.count("ok")


def _reasons(checks: Mapping[str, Verdict], method: str, own: Mapping[str, Outcome]) -> tuple[str, ...]:
    found = []
    for check, outcome in own.items():
        one = checks[check].of(method) if check in checks else None
        if one is not None:
            found.append(f"{check}: {outcome}, {one.words}")
        else:
            found.append(f"{check}: not measured")
    return tuple(found)


def _sentence(advised: Sequence[Advised]) -> str:
    by = {kind: [one.method for one in advised if one.advice == kind] for kind in ("trust", "with care", "do not use")}
    if by["trust"]:
        rest = f"; {listed(by['with care'])} with care" if by["with care"] else ""
        return f"for this model, trust {listed(by['trust'])}{rest}"
    if by["with care"]:
        return f"for this model, no method passes every check; use {listed(by['with care'])} with care"
    return "for this model, none of the methods can be recommended"


def shortcut(verdicts: Sequence[Verdict], trusted: Sequence[str]) -> Verdict:
    """Whether the model looks where it should not: what wiping says decides, what maps say adds to it.

    Maps count of methods that are not advised against.
    """
    checks = {one.check: one for one in verdicts if one.check in OF_MODEL}
    wiping = checks.get("wiping")
    needs = "not applicable" if wiping is None else wiping.outcome
    pointing = [name for name, one in checks.items() if name != "wiping" and _points(one, trusted)]
    outcome: Outcome = "fail" if needs == "fail" else "look" if needs == "look" or pointing else "ok"
    if not checks or all(one.outcome == "not applicable" for one in checks.values()):
        outcome = "not applicable"
    maps = f"maps say so as well ({listed(pointing)})" if pointing else "no maps say so"
    where = "" if wiping is None or wiping.leading is None else f"{wiping.leading.name}: {wiping.leading.words}"
    sentences: dict[Outcome, str] = {
        "not applicable": "nothing could be said about where the model looks",
        "ok": "neither maps nor wiping give a sign that the model looks where no anatomy is",
        "look": f"there are signs that the model looks where no anatomy is ({listed(pointing) or where})",
        "fail": f"the model uses what lies where no anatomy is ({where}); {maps}",
    }
    if outcome == "look" and pointing and needs == "ok":
        sentences["look"] += "; wiping these places does not change the answers"
    return Verdict("shortcut", "Does the model use a shortcut?", outcome, sentences[outcome])


def _points(verdict: Verdict, trusted: Sequence[str]) -> bool:
    return any(one.outcome == "fail" and one.name in trusted for one in verdict.findings)
