"""What a run would ask of the network, counted before it is run."""

from __future__ import annotations

from dataclasses import dataclass

from voxplain.data.case import Case
from voxplain.errors import VoxplainError
from voxplain.methods import Map
from voxplain.score.memory import Ledger
from voxplain.score.rehearsal import rehearsed
from voxplain.score.score import Score
from voxplain.spec import text
from voxplain.study.explain import Explainer, Question
from voxplain.study.plan import Plan
from voxplain.study.ready import Ready
from voxplain.study.run import questions
from voxplain.study.sharing import at_once, found_together


@dataclass(frozen=True)
class Cost:
    """What one question adds to a run: passes that it shares with one asked before it are counted there."""

    target: str
    """The target's spec, 'default' for what the model predicts."""
    method: str
    forwards: int
    """Samples sent forward."""
    backwards: int
    """Samples sent backward."""
    chunks: dict[str, int]
    """Samples at once in each kind of pass."""
    notes: tuple[str, ...] = ()
    """What was chosen, and what memory made necessary."""
    error: str = ""
    """Why there will be no map."""


@dataclass(frozen=True)
class Forecast:
    """The cost of one case, question by question."""

    case: str
    costs: tuple[Cost, ...]
    looks: int
    """Forwards before any question: what the model says about the image."""
    at_once: int
    """Questions answered side by side within the memory budget."""

    @property
    def forwards(self) -> int:
        """All samples sent forward."""
        return self.looks + sum(cost.forwards for cost in self.costs)

    @property
    def backwards(self) -> int:
        """All samples sent backward."""
        return sum(cost.backwards for cost in self.costs)


def forecast(plan: Plan, case: Case) -> Forecast:
    """What explaining a case would take, found by asking every question with nobody there to answer.

    Costs a forward, and one pass for all methods that read layers. A search whose next questions depend on the answers
    (`hierarchical_occlusion`, stopping at a tolerance) may come out a little different.
    """
    explainer = Explainer(plan.model, plan.prepare, plan.budget, plan.seed, plan.verify, plan.references)
    ready = explainer.ready(case.image, case.mask, case.slice, case.segments)
    asked = list(questions(plan, case))
    scores = [_rehearsed(explainer, ready, question) for question in asked]
    found = found_together(scores, [method for _, method in asked], ready.x, each=True)
    if plan.verify:
        found_together(scores, [method for _, method in asked], ready.x, each=True)
    parts = zip(asked, [score.ledger for score in scores], found, strict=True)
    looks = 1 + plan.every * len({target for target, _ in asked})
    return Forecast(case.identifier, tuple(_cost(*part) for part in parts), looks, at_once(scores, ready.x))


def _rehearsed(explainer: Explainer, ready: Ready, question: Question) -> Score:
    score = explainer.score(ready, question[0] or ready.prediction.default_target)
    return rehearsed(score, score.model(ready.x))


def _cost(question: Question, ledger: Ledger, found: Map | VoxplainError) -> Cost:
    target, method = question
    return Cost(
        target="default" if target is None else text(target),
        method=text(method),
        forwards=ledger.forwards,
        backwards=ledger.backwards,
        chunks=dict(ledger.chunks),
        notes=() if isinstance(found, VoxplainError) else (*found.notes, *ledger.fallbacks),
        error=str(found) if isinstance(found, VoxplainError) else "",
    )
