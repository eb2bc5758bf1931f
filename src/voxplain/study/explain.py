"""One case explained: prepared, asked, and every map brought back onto the image's own grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.load import load_image, load_mask
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError, VoxplainError
from voxplain.methods import Map, Method, method
from voxplain.score.memory import parse_bytes
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.score.target import Target, target
from voxplain.study.attributing import Story, attributions
from voxplain.study.origin import Cost
from voxplain.study.ready import Ready, made_ready
from voxplain.study.sharing import Tick, found_together

Question = tuple[Target | None, Method]
"""What is explained (None: what the model predicts), and how."""

Answer = list[Attribution] | VoxplainError
"""The maps of a question, or what prevented them."""


@dataclass(frozen=True, eq=False)
class Explainer:
    """A model, its preparation and the circumstances under which maps are made."""

    model: Model
    prepare: Prepare = field(default_factory=Prepare)
    budget: int | None = None
    seed: int = 0
    verify: bool = False
    """Make every map twice and say whether the bytes are equal."""
    references: tuple[Image, ...] = ()
    """Images that methods may compare a case with."""

    def ready(
        self,
        image: Image,
        mask: Image | None = None,
        slice_index: int | None = None,
        segments: Image | None = None,
    ) -> Ready:
        """Check and prepare a case, and ask the model about it once."""
        return made_ready(
            self.model,
            self.prepare,
            image,
            mask=mask,
            segments=segments,
            references=self.references,
            slice_index=slice_index,
            budget=self.budget,
        )

    def check(self, ready: Ready, target: Target | None) -> None:
        """Raise what keeps a target from being read of a case, whatever the method."""
        values, _ = self.score(ready, target or ready.prediction.default_target).freeze(ready.x)
        check_finite(values, ready, "")

    def maps(self, ready: Ready, questions: Sequence[Question], tick: Tick = lambda done: None) -> list[Attribution]:
        """Maps of one case on the image's own grid, for each question (a target and a method) one, or one a layer.

        What several questions ask of the model is answered once. The first error ends them all and is raised.
        """
        return [single for maps in self._answers(ready, questions, tick, each=False) for single in _told(maps)]

    def tried(self, ready: Ready, questions: Sequence[Question], tick: Tick) -> list[Answer]:
        """As `maps`, question by question; an error stands in the place of the maps that it prevented."""
        return self._answers(ready, questions, tick, each=True)

    def _answers(self, ready: Ready, questions: Sequence[Question], tick: Tick, *, each: bool) -> list[Answer]:
        asked = [(target or ready.prediction.default_target, method) for target, method in questions]
        scores = [self.score(ready, target) for target, _ in asked]
        methods = [method for _, method in asked]
        started = time.perf_counter()
        found = found_together(scores, methods, ready.x, each=each, tick=tick)
        seconds = time.perf_counter() - started
        twins: Sequence[Map | VoxplainError | None] = [None] * len(asked)
        if self.verify:
            twins = found_together([self.score(ready, target) for target, _ in asked], methods, ready.x, each=each)
        costs = [Cost(score.ledger, seconds, len(asked)) for score in scores]
        stories = [self._story(ready, *one, cost) for one, cost in zip(asked, costs, strict=True)]
        return [_laid(*one) for one in zip(stories, found, twins, strict=True)]

    def score(self, ready: Ready, target: Target) -> Score:
        """The score by which questions about a target of this case are asked."""
        return Score(
            self.model,
            target,
            spacing_mm=ready.spacing_mm,
            mask=ready.region,
            reference=ready.reference,
            segments=ready.labels,
            seed=self.seed,
            budget=self.budget,
        )

    def _story(self, ready: Ready, target: Target, method: Method, cost: Cost) -> Story:
        return Story(self.model, self.prepare, self.seed, ready, target, method, cost)


def _told(maps: Answer) -> list[Attribution]:
    if isinstance(maps, VoxplainError):
        raise maps
    return maps


def _laid(story: Story, found: Map | VoxplainError, twin: Map | VoxplainError | None) -> Answer:
    if isinstance(found, VoxplainError):
        return found
    if isinstance(twin, VoxplainError):
        return twin
    try:
        check_finite(found.score, story.ready, f"{story.method.name}: ")
    except InputError as error:
        return error
    return attributions(story, found, twin)


def check_finite(score: Tensor | None, ready: Ready, asker: str) -> None:
    """Refuse a case that the network answers with NaN or infinity: no map of it could mean anything."""
    if score is not None and not bool(torch.isfinite(score).all()):
        name = ready.image.identifier
        raise InputError(f"{asker}the model must give finite scores, got {float(score[0])} for case {name!r}")


def explain(
    model: Model | nn.Module,
    image: Image | str | Any,
    method: str | Method | Sequence[str | Method] = "grad_cam",
    *,
    target: str | Target | Sequence[str | Target] | None = None,
    prepare: Prepare | None = None,
    mask: Image | str | Any = None,
    reference: Image | str | Any | Sequence[Image | str | Any] = (),
    segments: Image | str | Any = None,
    slice: int | None = None,
    device: str = "cpu",
    memory: str | int | None = None,
    seed: int = 0,
    verify: bool = False,
) -> Attribution | list[Attribution]:
    """Why a model says what it says about one image, as a map on the image's own grid.

    Parameters
    ----------
    model
        A `voxplain.Model` (see `voxplain.load`) or any `torch.nn.Module`; it is copied and never changed.
    image
        An `Image`, a path, or a mapping of channel names to paths.
    method
        A spec such as `"integrated_gradients(steps=50)"`, a method, or several of them.
    target
        A spec such as `"class_score(2)"`, or several of them; left out: the predicted class, the largest predicted
        region, or the value.
    prepare
        How the image becomes the network's input; left out: its voxels as they are.
    mask
        An `Image` or a path, for targets over a mask and for measuring maps against it.
    reference
        One or several images (each as `image` is given) for methods that compare with others; prepared as the image is.
    segments
        An `Image` or a path: labelled parts of the image, for methods that take it apart by them.
    slice
        Axial slice of a volume, for a model that reads 2D images.
    memory
        Budget in bytes, or text such as `"4GB"`; left out: half of what is free.

    Returns one `Attribution`, or a list where several targets, methods or layers were asked for: target by target. What
    they ask of the model together is answered once.
    Raises `InputError` and its kin in one sentence for everything a user can put right.

    """
    made = model if isinstance(model, Model) else Model.of(model)
    budget = parse_bytes(memory) if isinstance(memory, str) else memory
    others = tuple(map(loaded, reference if isinstance(reference, list | tuple) else [reference]))
    explainer = Explainer(made.on(device), prepare or Prepare(), budget, seed, verify, others)
    picture = loaded(image)
    region, parts = labels_of(mask, picture, "mask"), labels_of(segments, picture, "segments")
    ready = explainer.ready(picture, region, slice, parts)
    methods, targets = _listed(method, Method), _listed(target, Target)
    asked = [None if one is None else as_target(one) for one in targets]
    found = explainer.maps(ready, [(one, as_method(how)) for one in asked for how in methods])
    single = isinstance(method, str | Method) and (target is None or isinstance(target, str | Target))
    return found[0] if single and len(found) == 1 else found


as_method = method
as_target = target


def _listed(given: Any, kind: type) -> list[Any]:
    return [given] if given is None or isinstance(given, str | kind) else list(given)


def loaded(image: Any) -> Image:
    """An image as Python callers give it: itself, a path, or a mapping of channel names to paths."""
    return image if isinstance(image, Image) else load_image(image)


def labels_of(given: Any, like: Image, what: str) -> Image | None:
    """Labels on the grid of `like` as Python callers give them: an image, a path, or None."""
    return given if given is None or isinstance(given, Image) else load_mask(given, like=like, what=what)
