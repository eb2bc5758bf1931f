"""What the certificates of the maps say: were all nonlinearities handled, do maps add up, do they point anywhere?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from voxplain.study.audit_cohort import Seen
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, concluded

MOST_FAILED = 0.1
"""A method fails whose maps fail a check in more than this share of the cases."""


def check(seen: Sequence[Seen], methods: Sequence[str]) -> Verdict:
    """Failed checks of certificates, and nonlinearities that backward rules passed by their derivative."""
    words: dict[Outcome, str] = {
        "ok": "all maps pass the checks of their certificates",
        "look": "{names}: some operations have no backward rule, or single maps fail a check",
        "fail": "{names}: maps fail the checks of their certificates",
    }
    return concluded(
        "certificates",
        "Certificates: covered nonlinearities and sums",
        words,
        [_finding(seen, name) for name in methods],
        quantity="share of maps with a failed check",
        threshold=f"look above 0 or where an operation has no rule, fail above {MOST_FAILED:g}",
    )


def _finding(seen: Sequence[Seen], method: str) -> Finding:
    maps = [one.maps[method] for one in seen]
    failed = [[check for check in one.checks if check["outcome"] == "failed"] for one in maps]
    broken = sum(bool(own) or bool(one.flaw) for own, one in zip(failed, maps, strict=True))
    share = broken / len(maps) if maps else 0.0
    told = Counter(str(check["name"]) for own in failed for check in own)
    told.update(one.flaw for one in maps if one.flaw)
    rules = [check for one in maps for check in one.checks if check["name"] == "nonlinearities covered"]
    bare = next((str(check["sentence"]) for check in rules if check["outcome"] == "noted"), "")
    outcome: Outcome = "fail" if share > MOST_FAILED else "look" if share or bare else "ok"
    words = ", ".join(f"{name}: {count} of {len(maps)} maps" for name, count in told.most_common()) or bare
    if not words:
        words = str(rules[0]["sentence"]) if rules else "no check failed; the method has no backward rules"
    return Finding(method, outcome, words, share, patients=len(maps))
