"""The certificate of one map: every check that can be made without a second opinion."""

from collections import Counter

import torch
from torch import Tensor

from voxplain.data.certificate import FLAT, MODEL, Certificate, Check, Outcome
from voxplain.data.way_back import Returned
from voxplain.methods import Map
from voxplain.score.memory import Ledger
from voxplain.score.model import Model
from voxplain.score.prepared import weights_hash

GAP_TOLERANCE = 0.05
"""A map that misses a twentieth of the score difference no longer ranks its voxels reliably: take more steps."""

LARGEST_FLOW = 100.0
"""Relevance that adds up to more than so many scores, signs left out, was made by small denominators, not by voxels."""

PADDING_TOLERANCE = 0.05
"""More than a twentieth of the evidence outside the image means that the network looks at the padding."""


def certificate(found: Map, back: Returned, twin: Map | None, model: Model, ledger: Ledger) -> Certificate:
    """All checks of a map of one sample; `twin` is the same map made again, where that was asked for."""
    checks = [
        _finite(found.values),
        not_constant(found.values),
        Check("class frozen", "passed", "class and region were chosen once, from the clean image"),
        *_complete(found),
        *_conserved(found),
        *_nonlinearities(ledger),
        *_padding(back),
        *_chunk(ledger),
        *(Check("fall-back", "noted", sentence) for sentence in ledger.fallbacks),
        *(Check(MODEL, "noted", sentence) for sentence in model.notices),
        *(Check("network", "noted", sentence) for sentence in model.remarks),
        _deterministic(found, twin),
    ]
    return Certificate(tuple(checks))


def unchanged(model: Model) -> Check:
    """Whether the weights are still those the run began with; the hash is taken anew, so ask once a run."""
    if weights_hash(model.module) == model.weights_hash:
        return Check("model unchanged", "passed", "the weights have the same hash before and after")
    return Check("model unchanged", "failed", "the weights changed while the map was made")


def _finite(values: Tensor) -> Check:
    broken = int((~torch.isfinite(values)).sum())
    if broken:
        return Check("finite", "failed", f"{broken} values are NaN or infinite", broken)
    return Check("finite", "passed", "all values are finite")


def not_constant(values: Tensor) -> Check:
    """Whether a map points anywhere."""
    low, high = values.min(), values.max()
    if values.numel() > 1 and bool(high - low <= FLAT * torch.maximum(low.abs(), high.abs())):
        constant = float(values.flatten()[0])
        return Check("not constant", "failed", f"the map is {constant:g} everywhere, so it points nowhere", constant)
    return Check("not constant", "passed", "the map is not constant")


def _complete(found: Map) -> list[Check]:
    gap, start = found.numbers.get("completeness_gap"), found.numbers.get("score_at_baseline")
    if gap is None or found.score is None:
        return []
    difference = abs(float(found.score[0] - (0 if start is None else start[0])))
    whole = "f(x)" if start is None else "f(x) - f(baseline)"
    if difference == 0:
        said = "f(x) is 0" if start is None else "f(x) equals f(baseline)"
        sentence = f"{said}, and the map sums to {float(gap[0]):.4g}"
        return [Check("completeness", _judged(float(gap[0]) == 0), sentence)]
    share = abs(float(gap[0])) / difference
    outcome = _judged(share <= GAP_TOLERANCE)
    sentence = f"the map's sum misses {whole} = {difference:.4g} by {share:.2%}"
    return [Check("completeness", outcome, sentence, share)]


def _conserved(found: Map) -> list[Check]:
    """How much of the score reached the voxels, for methods that hand relevance down from operation to operation."""
    absorbed = found.numbers.get("absorbed")
    if absorbed is None or found.score is None:
        return []
    score, kept, flow = float(found.score[0]), float(absorbed[0]), float(found.values.double().abs().sum())
    if flow > LARGEST_FLOW * abs(score):
        sentence = f"relevance grew to {flow:.3g} for a score of {score:.3g}; take another rule or a larger epsilon"
        return [Check("conservation", "failed", sentence, flow)]
    sentence = f"the map sums to {score - kept:.4g} of the score {score:.4g}; biases and stabilisers kept {kept:.4g}"
    return [Check("conservation", "noted", sentence, kept)]


def _judged(good: bool) -> Outcome:
    return "passed" if good else "failed"


def _nonlinearities(ledger: Ledger) -> list[Check]:
    """What backward rules handled: rules that met nothing of theirs give the plain gradient under another name."""
    covered, missed = ledger.covered, ledger.missed
    if not covered and not missed:
        return []
    rest = f"; {_counted(missed)} passed by their derivative" if missed else ""
    sentence = f"backward rules handled {_counted(covered)}{rest}"
    if not covered:
        sentence = f"the backward rules handle none of the network's nonlinearities: {_counted(missed)}"
    outcome: Outcome = "failed" if not covered else "noted" if missed else "passed"
    return [Check("nonlinearities covered", outcome, sentence, covered.total())]


def _counted(names: Counter[str]) -> str:
    """'12 nonlinearities (relu 9, max_pool3d 3)'."""
    told = ", ".join(f"{name} {count}" for name, count in names.most_common())
    return f"{names.total()} nonlinearit{'y' if names.total() == 1 else 'ies'} ({told})"


def _padding(back: Returned) -> list[Check]:
    lost = back.share_lost
    outcome = _judged(lost <= PADDING_TOLERANCE)
    return [Check("share in padding", outcome, f"{lost:.2%} of the evidence lies outside the image", lost)]


def _chunk(ledger: Ledger) -> list[Check]:
    told = ", ".join(f"{size} at once ({kind})" for kind, size in ledger.chunks.items())
    return [Check("chunk size", "noted", f"samples went through the network {told}", told)] if told else []


def _deterministic(found: Map, twin: Map | None) -> Check:
    if twin is None:
        return Check("determinism", "noted", "equal requests promise equal bytes on a CPU; --verify measures it")
    if torch.equal(found.values, twin.values):
        return Check("determinism", "passed", "made twice with equal bytes")
    gap = float((found.values - twin.values).abs().max())
    return Check("determinism", "failed", f"made twice with a largest difference of {gap:.3g}", gap)
