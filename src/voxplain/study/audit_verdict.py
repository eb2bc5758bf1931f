"""What a check of an audit says: an outcome, the numbers behind it, and one plain sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from voxplain.study.statistics import Estimate, by_patient, mean

Outcome = Literal["ok", "look", "fail", "not applicable"]

ORDER: tuple[Outcome, ...] = ("not applicable", "ok", "look", "fail")
"""From what says least to what says most."""


@dataclass(frozen=True)
class Finding:
    """What a check says about one method, or one place of the image."""

    name: str
    outcome: Outcome
    words: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval; None where there is none."""
    patients: int = 0
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def not_applicable(cls, name: str, reason: str) -> Self:
        """No number, with the reason."""
        return cls(name, "not applicable", reason)

    @classmethod
    def of(cls, name: str, outcome: Outcome, words: str, found: Estimate, **numbers: Any) -> Self:
        """With a mean over patients and its interval."""
        return cls(name, outcome, words, found.value, found.low, found.high, found.patients, numbers)


@dataclass(frozen=True)
class Verdict:
    """What one check says."""

    check: str
    title: str
    outcome: Outcome
    sentence: str
    quantity: str = ""
    """What the numbers of its findings are."""
    threshold: str = ""
    """The rule, in words."""
    findings: tuple[Finding, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """What figures are drawn of."""

    @classmethod
    def not_applicable(cls, check: str, title: str, reason: str) -> Self:
        """No verdict, with the reason."""
        return cls(check, title, "not applicable", reason)

    @property
    def leading(self) -> Finding | None:
        """The first finding that has the outcome of the whole check."""
        return next((one for one in self.findings if one.outcome == self.outcome and one.value is not None), None)

    def of(self, name: str) -> Finding | None:
        """The finding about a method or place."""
        return next((one for one in self.findings if one.name == name), None)

    def to_table(self) -> dict[str, Any]:
        """As plain JSON values."""
        lead = self.leading
        ends = {name: None if lead is None else getattr(lead, name) for name in ("value", "low", "high")}
        return {**asdict(self), **ends}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Back from `to_table`."""
        own = {one.name: table[one.name] for one in fields(cls) if one.name != "findings"}
        return cls(**own, findings=tuple(Finding(**one) for one in table["findings"]))


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that says most; 'not applicable' for none."""
    return max(outcomes, key=ORDER.index, default="not applicable")


def above(found: Estimate, look: float, fail: float) -> Outcome:
    """For a number that is bad when high: even the lower end of its interval must lie above a threshold."""
    return "fail" if lower_end(found) > fail else "look" if lower_end(found) > look else "ok"


def lower_end(found: Estimate) -> float:
    """The lower end of an interval, or the value that has none."""
    return found.value if found.low is None else found.low


def below(found: Estimate, look: float, fail: float) -> Outcome:
    """For a number that is good when high: its mean must reach a threshold."""
    return "fail" if found.value < fail else "look" if found.value < look else "ok"


def estimate(values: Mapping[str, float], groups: Mapping[str, str]) -> Estimate | None:
    """The mean over patients of the numbers of cases; None where there are none."""
    return mean(by_patient(values, groups)) if values else None


def concluded(
    check: str,
    title: str,
    words: Mapping[Outcome, str],
    findings: Sequence[Finding],
    *,
    quantity: str,
    threshold: str,
    numbers: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict with the worst outcome of its findings, and the sentence for it; '{names}' are those that have it."""
    outcome = worst(one.outcome for one in findings)
    names = ", ".join(one.name for one in findings if one.outcome == outcome)
    reason = findings[0].words if findings else "there is nothing to look at"
    sentence = words.get(outcome, reason).format(names=names)
    return Verdict(check, title, outcome, sentence, quantity, threshold, tuple(findings), numbers or {})


def interval_words(one: Finding, shown: Callable[[float], str]) -> str:
    """'0.41 (0.30 to 0.52)', or without an interval where there is none; '' without a number."""
    if one.value is None:
        return ""
    ends = "no interval" if one.low is None or one.high is None else f"{shown(one.low)} to {shown(one.high)}"
    return f"{shown(one.value)} ({ends})"


def listed(names: Sequence[str]) -> str:
    """'a, b and c'."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
