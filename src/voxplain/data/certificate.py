"""The certificate: what was checked about a map, and what came out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Outcome = Literal["passed", "failed", "noted"]

FLAT = 1e-6
"""A map whose values differ by less than this share of the largest is constant: float32 resolves no more."""

MODEL = "model"
"""The name of checks that say what was noticed about the model, such as random weights."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its outcome, a sentence, and the number behind it."""

    name: str
    outcome: Outcome
    sentence: str
    value: float | str | None = None


@dataclass(frozen=True)
class Certificate:
    """All checks of one map; a failed one is shown wherever the map is shown."""

    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        """True when nothing failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    def with_checks(self, *checks: Check) -> "Certificate":
        """The certificate with more checks at its end."""
        return Certificate((*self.checks, *checks))

    def to_table(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Back from `to_table`."""
        return cls(tuple(Check(**check) for check in table.get("checks", ())))
