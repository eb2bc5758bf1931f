"""The maps of many layers from one pass, laid on the image's grid one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from voxplain.data.attribution import Attribution
from voxplain.errors import InputError, VoxplainError
from voxplain.methods import Map, Method
from voxplain.methods.cam import GradientCam, OfLayers
from voxplain.methods.guided_grad_cam import GuidedGradCam
from voxplain.methods.hires_cam import HiresCam
from voxplain.methods.layer_gradient import LayerGradient
from voxplain.score.target import Target
from voxplain.spec import text
from voxplain.study.attributing import Story, attributions
from voxplain.study.explain import Explainer, check_finite
from voxplain.study.origin import Cost
from voxplain.study.ready import Ready
from voxplain.study.sharing import Tick, found_together

FLOWING = (GradientCam, GuidedGradCam, LayerGradient)
"""Kinds of methods whose maps at all layers come from one forward and one backward (guided Grad-CAM: two)."""

AT_LAYERS: dict[str, Method] = {"gradient": LayerGradient(), "input_x_gradient": HiresCam(relu=False)}
"""What a method of the input becomes at a layer: the same with the layer's activations in place of the voxels."""


class LayerMap(NamedTuple):
    """The map of one question at one layer."""

    question: int
    layer: int
    """From 0, in the order of the flow."""
    attribution: Attribution


def flowing(method: Method) -> Method:
    """The method as a flow asks it; raises `InputError` for one that needs more than a pass for all layers."""
    found = AT_LAYERS.get(text(method), method)
    if getattr(found, "layer", None) is not None:
        raise InputError(f"flow chooses the layers of all methods; leave layer out of {method.name} and use --layers")
    if not isinstance(found, FLOWING):
        raise InputError(f"flow: {method.name} {_why_not(method)}; flows are made of {', '.join(flowing_names())}")
    return found


def _why_not(method: Method) -> str:
    if not isinstance(method, OfLayers):
        return "has no maps of layers"
    return (
        f'runs the network once for every channel of every layer; ask voxplain explain for "{method.name}(layer=...)"'
    )


def flowing_names() -> list[str]:
    """The methods of the table that a flow can be made of."""
    from voxplain.methods import table

    return [name for name, kind in table().items() if issubclass(kind, FLOWING) or name in AT_LAYERS]


def layer_maps(
    explainer: Explainer,
    ready: Ready,
    questions: Sequence[tuple[Target, Method]],
    layers: Sequence[str],
    tick: Tick = lambda done: None,
) -> Iterator[LayerMap]:
    """The map of each question at each layer, in this order; one pass answers all of them.

    Only one map at a time is on the image's grid. The factors of a product (guided Grad-CAM) do not come along.
    """
    asked = [(target, replace(method, layer=tuple(layers))) for target, method in questions]  # type: ignore[call-arg]
    scores = [explainer.score(ready, target) for target, _ in asked]
    methods = [method for _, method in asked]
    started = time.perf_counter()
    found = _listed(found_together(scores, methods, ready.x, each=False, tick=tick))
    seconds = time.perf_counter() - started
    for maps in found:
        check_finite(maps[0].score, ready, "flow: ")
    twins = _listed(found_together(scores, methods, ready.x, each=False)) if explainer.verify else []
    for number, ((target, method), score) in enumerate(zip(asked, scores, strict=True)):
        cost = Cost(score.ledger, seconds, len(asked))
        for place, layer in enumerate(layers):
            alone = replace(method, layer=layer)  # type: ignore[call-arg]
            story = Story(explainer.model, explainer.prepare, explainer.seed, ready, target, alone, cost)
            twin = twins[number].pop(0) if twins else None
            (single,) = attributions(story, found[number].pop(0), twin)
            yield LayerMap(number, place, replace(single, method=text(questions[number][1])))


def _listed(found: Sequence[Map | VoxplainError]) -> list[list[Map]]:
    """The maps of each question, layer by layer, without their factors."""
    maps = [one for one in found if isinstance(one, Map)]  # errors were raised
    return [[replace(layer, siblings=(), parts={}) for layer in (one, *one.siblings)] for one in maps]
