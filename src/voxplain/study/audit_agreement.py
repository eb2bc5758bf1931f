"""Where wiping a place proved that the model uses it, do the maps lie there?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxplain.study.audit_cohort import Seen
from voxplain.study.audit_outside import times_chance
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, concluded

LOOK, FAIL = 2.0, 1.0
"""Times chance: a map with less than the second says the opposite of what was proved."""

CHECK, TITLE = "agreement", "Do maps lie where wiping proved that the model looks?"


def check(seen: Sequence[Seen], wiping: Verdict, methods: Sequence[str], groups: Mapping[str, str]) -> Verdict:
    """The share of each method's magnitude in the place that the model needs most, in the class that needs it."""
    needed = [one for one in wiping.findings if one.outcome == "fail"]
    if not needed:
        return Verdict.not_applicable(CHECK, TITLE, "wiping found no place that the model needs and should not")
    place, said = needed[0].name, str(needed[0].numbers["said"])
    there = [one for one in seen if place in one.covered and (not said or one.said == said)]
    words: dict[Outcome, str] = {
        "ok": f"every method's maps lie where wiping moved the scores ({place})",
        "look": f"{{names}}: maps hardly lie where wiping moved the scores ({place})",
        "fail": f"{{names}}: maps miss the place where wiping moved the scores ({place})",
    }
    return concluded(
        CHECK,
        TITLE,
        words,
        [_finding(there, name, place, groups) for name in methods],
        quantity=f"share of the map over share of the image: {place}",
        threshold=f"look below {LOOK:g}, fail below {FAIL:g}",
    )


def _finding(seen: Sequence[Seen], method: str, place: str, groups: Mapping[str, str]) -> Finding:
    there = [one for one in seen if place in one.maps[method].shares]
    if not there:
        return Finding.not_applicable(method, "no map")
    found = times_chance(there, method, place, groups)
    outcome: Outcome = "ok" if found.value > LOOK else "look" if found.value > FAIL else "fail"
    return Finding.of(method, outcome, f"{found.value:.2g} times chance, {place}", found)
