"""What not to conclude from the maps of a case, by what they are, what the checks found and what was predicted."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voxplain.data.certificate import MODEL
from voxplain.report.contents import Table
from voxplain.report.facts import percent
from voxplain.report.words import Told, exclusive, likeliest, probabilities
from voxplain.types import Quantity

UNSURE = 0.2
"""A lead over the next class below this is no clear answer."""

FAMILIES = {
    ("occlusion", "hierarchical_occlusion", "region_ablation", "rise", "lime", "kernel_shap", "shapley_sampling",
     "partition_shap", "modality_shapley", "extremal_perturbation", "score_cam", "ablation_cam"): (
        "made by changing the image or the network and watching the answer; the model saw inputs unlike any it was "
        "trained on, and another filling or window may give another map"
    ),
    ("integrated_gradients", "expected_gradients", "blur_ig", "guided_ig", "deep_lift", "deep_shap", "xrai"): (
        "made against a reference input; another reference (baseline) gives another map, and what looks like the "
        "reference gets no evidence"
    ),
    ("gradient", "smoothgrad", "input_x_gradient"): (
        "shows to what the score is most sensitive right here, which is not what it rests on"
    ),
    ("guided_backprop", "deconvnet", "guided_grad_cam"): (
        "sharp edges come out even for networks with random weights; they prove nothing about the model"
    ),
    ("attention_rollout",): "shows where attention flows whatever the class, the same map for every answer",
    ("eigen_cam",): "shows the strongest pattern of a layer whatever the class; it is no evidence for this answer",
}  # fmt: skip
"""Methods that share a weakness, and the weakness."""

MEANINGS = {
    Quantity.SCORE_UNITS: "values add up to a difference of scores; a negative one is evidence against",
    Quantity.RELEVANCE: "values have a sign but do not add up; compare places within a map, not sizes between maps",
    Quantity.SALIENCY: "evidence against cannot be seen; what is dark may be ignored or may speak for another answer",
    Quantity.MASK: "values say which part is kept or removed, from 0 to 1; they are no probability of disease",
}
"""What the numbers of a map do not say, by their quantity."""


@dataclass(frozen=True)
class Shown:
    """What a caution needs to know of one map besides its place and checks."""

    told: Told
    quantity: Quantity
    derivative: bool
    layer: str
    cells: str
    """How coarse the map is, such as '7 × 7 cells'; '' where it is as fine as the image."""
    doubt: str
    """Why it may be noise; '' where nothing says so."""


def cautions(shown: Sequence[Shown], prediction: Table, label: str) -> list[str]:
    """Sentences on what not to conclude, the gravest first."""
    if not shown:
        return []
    return [*_of_checks(shown), *_of_answer(prediction, label), *_of_places(shown), *_of_maps(shown)]


def _of_checks(shown: Sequence[Shown]) -> Iterator[str]:
    failed = [one.told.method for one in shown if one.told.failed]
    if failed:
        yield f"Conclude nothing from {_named(failed)}: a check failed."
    if any(check.name == MODEL and "random" in check.sentence for one in shown for check in one.told.checks):
        yield "The network has random weights: no map of it says anything about disease or image."
    doubtful = [one.told.method for one in shown if one.doubt]
    if doubtful:
        yield f"{_named(doubtful)}: the map lies like noise; colours alone are no evidence."
    blank = [one.told.method for one in shown if one.told.spot.none and not one.doubt]
    if blank:
        yield f"{_named(blank)}: an empty map says that the method found nothing, not that the model used nothing."


def _of_answer(prediction: Table, label: str) -> Iterator[str]:
    name, share = likeliest(prediction)
    if exclusive(prediction):
        others = sorted((value for _, value in probabilities(prediction)), reverse=True)[1:]
        if others and share - others[0] < UNSURE:
            yield (
                f"The answer is hardly more likely than the next one ({percent(share)} against {percent(others[0])}): "
                "the maps explain a choice that a small change may turn."
            )
        if label and label != name:
            yield (
                f"The model says {name} but the label is {label}: the maps show what misled the model, or what the "
                "label does not know, not where disease is."
            )


def _of_places(shown: Sequence[Shown]) -> Iterator[str]:
    shares = [one for one in shown if one.told.share is not None]
    if not shares:
        yield "There is no reference mask: nothing here says whether the evidence lies in the right place."
    low = [one.told.method for one in shares if one.told.chance and (one.told.share or 0) <= one.told.chance]
    if low:
        yield f"{_named(low)}: no more evidence inside the mask than by chance."
    if sum(not one.told.spot.none for one in shown) > 1:
        yield "Where maps differ, do not pick the one that looks right: that they differ is part of the answer."
    yield "Whether a map is faithful to the model was checked only as far as the checks say; see the scorecard."


def _of_maps(shown: Sequence[Shown]) -> Iterator[str]:
    """Cautions that follow from the kind of a map, one sentence for all maps of that kind."""
    for names, weakness in FAMILIES.items():
        concerned = [one.told.method for one in shown if _name(one.told.method) in names]
        if concerned:
            yield f"{_named(concerned)}: {weakness}."
    for quantity, meaning in MEANINGS.items():
        concerned = [one.told.method for one in shown if one.quantity is quantity and not one.derivative]
        if concerned:
            yield f"{_named(concerned)}: {meaning}."
    coarse = [
        f"{one.told.method} ({one.cells}{f', layer {one.layer}' if one.layer else ''})" for one in shown if one.cells
    ]
    if coarse:
        yield f"The borders of {_named(coarse)} are borders of cells, not of a finding."


def _name(method: str) -> str:
    return re.split(r"\W", method, maxsplit=1)[0]


def _named(names: Sequence[str]) -> str:
    """Names by commas, each once."""
    return ", ".join(dict.fromkeys(names))
