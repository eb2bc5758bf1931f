"""What a feedback form shows of a run: which cases and maps, what readers are asked, and the key of each case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from voxplain.errors import InputError, OptionError, unknown
from voxplain.ops.controls import CONTROLS
from voxplain.report.contents import Run, listing, mapping
from voxplain.report.figures_runs import CaseMaps, case_maps, method_name
from voxplain.study.feedback import KeyCase, Question, lettered

MOST_ANSWERS = 20
"""More classes than these are no list to choose from."""

SEGMENTED = Question("Do you see a finding in this image?", ("no", "yes"))
"""What is asked where the model's classes are no answers, such as those of a segmentation."""


@dataclass(frozen=True)
class Asked:
    """What a form is made of."""

    seed: int = 0
    """Sets the order of cases and of maps; give each reader another one."""
    cases: int | None = None
    """How many of the run's cases, from its first on; None for all."""
    methods: tuple[str, ...] = ()
    """Methods by their names or specs; none named means all."""
    target: str | None = None
    """Maps of this target; None for each case's first."""
    sham: str = ""
    """A control shown among the maps, '' for none."""
    causability: bool = False
    """Whether the System Causability Scale is asked at the end."""
    question: str = ""
    """What readers say about each image themselves; '' for one that fits the model's answer."""
    answers: tuple[str, ...] = ()
    """What they choose from; by default the model's classes, or a number where it gives numbers."""
    plane: str | None = None
    """How volumes are cut: axial, coronal or sagittal."""
    channel: str | None = None
    """The channel of the image that is shown; None for the first."""

    def __post_init__(self) -> None:
        if self.cases is not None and self.cases < 1:
            raise OptionError(f"--cases must be at least 1, got {self.cases}")
        if self.sham and self.sham not in CONTROLS:
            raise unknown("control", self.sham, CONTROLS)
        if len(self.answers) == 1 or len(set(self.answers)) < len(self.answers):
            raise OptionError(f"--answers must be at least two different ones, got {', '.join(self.answers)}")


def chosen_maps(run: Run, name: str, asked: Asked) -> CaseMaps:
    """The case with the maps that are asked for; raises InputError for a method or target that it does not have."""
    found = case_maps(run, name, target=asked.target)
    names = [
        (arm, one.method, method_name(one)) for arm, one in zip(_arms(found), found.maps, strict=True)
    ]  # fmt: skip
    for method in asked.methods:
        if not any(method in own for own in names):
            raise unknown("method", method, {own[-1] for own in names})
    keep = [place for place, own in enumerate(names) if not asked.methods or set(own) & set(asked.methods)]
    maps, layers = tuple(found.maps[place] for place in keep), tuple(found.layers[place] for place in keep)
    return replace(found, maps=maps, layers=layers)


def arms(found: CaseMaps) -> tuple[str, ...]:
    """What the letters stand for: a method, and its layer where it has one; raises InputError where two are alike."""
    named = _arms(found)
    twice = [arm for arm in named if named.count(arm) > 1]
    if twice:
        raise InputError(f"case {found.identifier!r} must have one map of {twice[0]!r}, got several")
    return named


def _arms(found: CaseMaps) -> tuple[str, ...]:
    pairs = zip(found.maps, found.layers, strict=True)
    return tuple(f"{one.method}, {layer}" if layer else one.method for one, layer in pairs)


def question(found: CaseMaps, asked: Asked) -> Question:
    """What readers say themselves: as asked, else one of the model's classes, or a number where it gives numbers."""
    kind, classes = mapping(found.facts.get("prediction")).get("kind"), _classes(found)
    if asked.answers:
        return Question(asked.question or "What is your reading?", asked.answers)
    if kind == "regression":
        return Question(asked.question or "Which number do you read?", ())
    if kind == "classification" and 2 <= len(classes) <= MOST_ANSWERS:
        return Question(asked.question or "What is your reading?", classes)
    return replace(SEGMENTED, words=asked.question or SEGMENTED.words)


def key_case(found: CaseMaps, patient: str, put: Question, asked: Asked, source: str) -> KeyCase:
    """The key of one case; its letters follow from the run's hash, the seed and the case."""
    methods = [*arms(found), *([asked.sham] if asked.sham else [])]
    scores = listing(mapping(found.facts.get("prediction")).get("scores"))
    model = _place(found.predicted, found, put) if put.answers else _number(scores[0] if scores else None)
    truth = _place(found.truth, found, put) if put.answers else _number(found.truth)
    return KeyCase(found.identifier, patient, model, truth, lettered(methods, source, asked.seed, found.identifier))


def patients(run: Run) -> dict[str, str]:
    """Case -> a number for its patient in place of a name; a case without one is a patient by itself."""
    groups = {case.identifier: str(case.facts.get("group") or f"case {case.identifier}") for case in run.cases}
    numbers = {group: f"patient {place}" for place, group in enumerate(dict.fromkeys(groups.values()), start=1)}
    return {case: numbers[group] for case, group in groups.items()}


def _classes(found: CaseMaps) -> tuple[str, ...]:
    said: Mapping[str, Any] = mapping(found.facts.get("prediction"))
    return tuple(map(str, listing(said.get("class_names")))) or tuple(found.probabilities)


def _place(name: str, found: CaseMaps, put: Question) -> float | None:
    """The place of a class, told by name or number, among the answers that readers choose from."""
    classes = _classes(found)
    if name not in put.answers and name.isdecimal() and int(name) < len(classes):
        name = classes[int(name)]
    return float(put.answers.index(name)) if name in put.answers else None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
