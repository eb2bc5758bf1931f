"""Do maps lie where no anatomy is: outside the body, along the border, in the corners?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxplain.study.audit_cohort import Seen, by_class
from voxplain.study.audit_places import ALONG, CORNERS, OUTSIDE
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, above, concluded, lower_end
from voxplain.study.statistics import Estimate, by_patient, mean

LOOK, FAIL = 2.0, 4.0
"""Times the place's share of the image: a map that knows nothing has 1."""

FEWEST_OF_CLASS = 4
"""Classes said of fewer cases are not looked at on their own."""

TITLES = {
    OUTSIDE: "Evidence outside the body",
    ALONG: "Evidence along the border",
    CORNERS: "Evidence in the corners",
}


def check(seen: Sequence[Seen], methods: Sequence[str], groups: Mapping[str, str], place: str) -> Verdict:
    """The share of each method's magnitude in a place against the place's share of the image, in the worst class."""
    words: dict[Outcome, str] = {
        "ok": f"no method puts much more evidence {_at(place)} than a map that knows nothing would",
        "look": f"{{names}}: more than twice as much evidence {_at(place)} as chance",
        "fail": f"{{names}}: more than four times as much evidence {_at(place)} as chance",
    }
    return concluded(
        place,
        TITLES[place],
        words,
        [_finding(seen, name, groups, place) for name in methods],
        quantity="share of the map over share of the image",
        threshold=f"look above {LOOK:g}, fail above {FAIL:g}, with the whole interval, in any class",
    )


def _at(place: str) -> str:
    return {OUTSIDE: OUTSIDE, ALONG: "along the border", CORNERS: "in the corners"}[place]


def _finding(seen: Sequence[Seen], method: str, groups: Mapping[str, str], place: str) -> Finding:
    there = [one for one in seen if place in one.maps[method].shares]
    if not there:
        reason = next((one.maps[method].flaw for one in seen if one.maps[method].flaw), "")
        alone = "no case has a body that leaves room around it" if place == OUTSIDE else "no map"
        return Finding.not_applicable(method, reason or alone)
    name, found = leading(
        {name: times_chance(own, method, place, groups) for name, own in by_class(there, FEWEST_OF_CLASS).items()}
    )
    of_class = f" of cases called {name}" if name else ""
    words = f"{found.value:.2g} times chance{of_class}"
    cases = {one.case: one.maps[method].shares[place] / one.areas[place] for one in there}
    return Finding.of(method, above(found, LOOK, FAIL), words, found, cases=cases, said=name)


def times_chance(seen: Sequence[Seen], method: str, place: str, groups: Mapping[str, str]) -> Estimate:
    """Mean over patients of the share in a place over the place's share of the image."""
    values = {one.case: one.maps[method].shares[place] / one.areas[place] for one in seen}
    return mean(by_patient(values, groups))


def leading(found: Mapping[str, Estimate]) -> tuple[str, Estimate]:
    """The class that is most surely high: by the lower end of its interval."""
    name = max(found, key=lambda one: lower_end(found[one]))
    return name, found[name]
