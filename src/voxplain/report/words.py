"""A case in plain words: what the model said, how sure it is, where the evidence lies, and what the checks say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from voxplain.data.certificate import Check
from voxplain.report.contents import Table, listing
from voxplain.report.display import number
from voxplain.report.evidence import Evidence
from voxplain.report.facts import percent, plain

SUM_OF_ONE = 0.01
"""Probabilities whose sum is farther from 1 belong to findings that do not exclude each other."""

MOST_PARTS = 3
"""Parts of the image that are named; maps that are strongest in others are counted together."""

CHANCE = "inside the mask than chance would put there."


@dataclass(frozen=True)
class Told:
    """What the words need to know of one map."""

    method: str
    spot: Evidence
    checks: Sequence[Check]
    share: float | None
    chance: float | None

    @property
    def failed(self) -> bool:
        """Whether a check of the map failed."""
        return any(check.outcome == "failed" for check in self.checks)


def said(prediction: Table, label: str) -> list[str]:
    """What the model said of a case, and whether the label that came with the case agrees."""
    words = plain(prediction.get("words"))
    if not words:
        return ["No prediction was stored with this case."]
    kind = prediction.get("kind")
    if kind == "regression":
        return [f"The model says {words}.", *_regression_label(prediction, label)]
    if kind != "classification":
        return [f"The model says {words}."]
    name, _ = likeliest(prediction)
    if exclusive(prediction) and name:
        agrees = (
            f"The label that came with the case is {label}: the model {'agrees' if label == name else 'disagrees'}."
        )
        return [f"The model says {name}.", *([agrees] if label else [])]
    return [f"The model says {words}.", *([f"The label that came with the case is {label}."] if label else [])]


def _regression_label(prediction: Table, label: str) -> list[str]:
    values = [value for value in listing(prediction.get("scores")) if isinstance(value, int | float)]
    try:
        gap = float(values[0]) - float(label) if len(values) == 1 else None
    except ValueError:
        gap = None
    if not label:
        return []
    off = "" if gap is None else f": the model is {number(abs(gap))} {'above' if gap > 0 else 'below'} it"
    return [f"The value that came with the case is {label}{off if gap else ''}."]


def sure(prediction: Table) -> list[str]:
    """How sure the model is by its own numbers, and what these are worth."""
    kind = prediction.get("kind")
    if kind == "regression":
        return ["A regression gives a number without a probability: how sure the model is, this run does not know."]
    if kind == "segmentation":
        return ["A segmentation gives a label for each voxel: how sure the model is of them, this run does not know."]
    shares = probabilities(prediction)
    if not shares:
        return []
    worth = "These are the model's own numbers; whether they are calibrated, this run does not know."
    if not exclusive(prediction):
        return ["Each finding has a probability of its own; they do not add up to one.", worth]
    (name, share), *rest = sorted(shares, key=lambda pair: -pair[1])
    second = f"; next is {rest[0][0]} with {percent(rest[0][1])}" if rest else ""
    return [f"It gives {name} a probability of {percent(share)}{second}.", worth]


def probabilities(prediction: Table) -> list[tuple[str, float]]:
    """Each class and its probability, in the model's order."""
    names = [str(name) for name in listing(prediction.get("class_names"))]
    shares = enumerate(listing(prediction.get("probabilities")))
    return [
        (names[n] if n < len(names) else f"class {n}", float(share))
        for n, share in shares
        if isinstance(share, int | float) and not isinstance(share, bool)
    ]


def exclusive(prediction: Table) -> bool:
    """Whether the classes exclude each other: their probabilities add up to one."""
    shares = [share for _, share in probabilities(prediction)]
    return len(shares) > 1 and abs(sum(shares) - 1) <= SUM_OF_ONE


def likeliest(prediction: Table) -> tuple[str, float]:
    """The likeliest class and its probability; '' and 0 where there is none."""
    return max(probabilities(prediction), key=lambda pair: pair[1], default=("", 0.0))


def where(told: Sequence[Told], apart: str) -> list[str]:
    """Where the evidence lies, over all maps of a case; `apart` is the largest distance of their strongest points."""
    placed = [one for one in told if not one.spot.none]
    if not told:
        return ["There is no map of this case, so nothing is known of where the evidence lies."]
    if not placed:
        return ["No map shows evidence at any place."]
    if len(placed) == 1:
        one = placed[0].spot
        sentences = [f"The map is strongest at {one.place}, in the {_part(one)}."]
    else:
        sentences = [f"{_parts(placed)}. Their strongest points lie up to {apart} apart; each is listed below."]
    shares = [(one.share, one.chance) for one in placed if one.share is not None and one.chance is not None]
    above = sum(share > chance for share, chance in shares)
    if len(shares) == 1:
        sentences.append(f"It has {'more' if above else 'no more'} of its evidence {CHANCE}")
    elif shares:
        sentences.append(f"{above} of {len(shares)} maps have more of their evidence {CHANCE}")
    return sentences


def _part(spot: Evidence) -> str:
    """The part of the image, with the structure that the atlas names there."""
    return f"{spot.sides} ({spot.anatomy})" if spot.anatomy else spot.sides


def _parts(placed: Sequence[Told]) -> str:
    """How many maps are strongest in which part of the image."""
    counted = Counter(_part(one.spot) for one in placed).most_common()
    (first, count), *rest = counted
    if not rest:
        return f"All {count} maps are strongest in the {first}"
    others = [f"{more} in the {part}" for part, more in rest[: MOST_PARTS - 1]]
    left = sum(more for _, more in rest[MOST_PARTS - 1 :])
    told = ", ".join([*others, *([f"{left} elsewhere"] if left else [])])
    return f"{count} of {len(placed)} maps {'is' if count == 1 else 'are'} strongest in the {first}, {told}"


def checked(told: Sequence[Told]) -> list[str]:
    """What the checks of a case's maps say."""
    if not told:
        return []
    failed = [one for one in told if one.failed]
    unchecked = [one.method for one in told if not one.checks]
    sentences = [f"No check was recorded for {', '.join(unchecked)}."] if unchecked else []
    count = len(told) - len(unchecked)
    if not failed:
        words = "The map passed its checks" if count == 1 else f"All {count} maps passed their checks"
        passed = f"{words}: they are what the method promises; whether the model is right, no check knows."
        return [passed, *sentences] if count else sentences
    names = "; ".join(
        f"{one.method} ({', '.join(check.name for check in one.checks if check.outcome == 'failed')})" for one in failed
    )
    return [f"{len(failed)} of {count} maps failed a check: {names}. Do not rely on them.", *sentences]
