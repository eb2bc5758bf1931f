"""Rows of LIME and partition SHAP, with the same segments and the same evaluations for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, Run, flat
from bench.floor import Layout, folded, layouts
from bench.networks import on, picture, resnet18, resnet50
from voxplain.ops.draws import uniform
from voxplain.ops.segments import grid, segment_means

CLASS = 1
SEGMENTS, SEED = 49, 7
SAMPLES, SOME_SAMPLES = 1000, 300
EVALUATIONS, SOME_EVALUATIONS = 2000, 300


def rows() -> list[Row]:
    """Each on two networks, with a part of its samples and with all."""
    work: tuple[tuple[str, str, Callable[..., Contest], int, int, str], ...] = (
        ("lime", f"LIME, {SEGMENTS} segments", lime, SOME_SAMPLES, SAMPLES, "1.5 x lime"),
        ("partition_shap", "Partition SHAP", partition_shap, SOME_EVALUATIONS, EVALUATIONS, "2 x shap"),
    )
    return [
        Row(
            name=f"{name}_{label.lower().replace('-', '')}{'' if count == some else '_full'}",
            work=f"{words}, {whole} evaluations",
            network=label,
            size="1 x 3 x 224 x 224",
            part=f"{count} of {whole} evaluations" if count == some else "",
            build=lambda device, build=build, network=network, count=count: build(
                device, network(), picture(device, 1, 3, 224, 224), count
            ),
            goal=goal,
            limit="with the same evaluations all run the same forwards, and bare torch alone is about 1.3 x as fast",
            repeats=3,
            long=count != some,
        )
        for name, words, build, some, whole, goal in work
        for label, network in (("ResNet-18", resnet18), ("ResNet-50", resnet50))
        for count in (some, whole)
    ]


def lime(device: torch.device, network: nn.Module, x: Tensor, samples: int) -> Contest:
    """The same boxes, draws, kernel and ridge; ours explains all classes at once, lime the one asked for."""
    model, plain = vx.Model.of(on(network, device)), on(network, device)
    labels = grid(x.shape[2:], SEGMENTS, None)
    method = vx.method(f"lime(samples={samples}, segmenter='given')")
    at_once = tuple(dict.fromkeys(min(count, samples) for count in (10, 50)))
    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({CLASS})", segments=labels[None], seed=SEED), x),
        forward=lambda: plain(x),
        peers={
            "lime": Rival(
                make=lambda count: _lime(plain, x, labels, samples, count),
                settings=at_once,
                knob="batch_size",
                package="lime",
                compared=lambda ours, theirs: (flat(ours)[0, 0], flat(theirs)),
                differs="explains the one class asked for, where ours explains every class from the same evaluations",
            )
        },
        floor=Rival(
            make=lambda layout: _bare_lime(folded(network, device, layout), x, labels, samples, layout),
            settings=layouts(*at_once),
        ),
    )


class Draws:
    """Stands in for lime's random state: the presence of each segment as we draw it."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def randint(self, low: int, high: int, count: int) -> np.ndarray:
        """The numbers that lime asks for, 0 or 1."""
        if (low, high) != (0, 2) or count % self.samples:
            raise ValueError(f"lime asked for {count} numbers from {low} to {high}, which is not what is drawn here")
        return presence(self.samples, count // self.samples).long().flatten().numpy()


def presence(samples: int, players: int) -> Tensor:
    """Which segments are there in each sample (samples, players)."""
    return uniform(SEED, range(samples), (players,)) < 0.5


def _lime(network: nn.Module, x: Tensor, labels: Tensor, samples: int, count: int) -> Run:
    from lime.lime_image import LimeImageExplainer

    picture_of = x[0].permute(1, 2, 0).cpu().numpy()
    options: dict[str, Any] = {"hide_color": None, "top_labels": None, "num_samples": samples, "random_seed": 0}

    def run() -> Tensor:
        explainer = LimeImageExplainer()
        explainer.random_state = Draws(samples)
        explainer.base.random_state = 0
        found = explainer.explain_instance(
            picture_of,
            scores_of(network, x),
            labels=(CLASS,),
            batch_size=count,
            segmentation_fn=lambda _: labels.numpy(),
            **options,
        )
        weights = np.array([weight for _, weight in sorted(found.local_exp[CLASS])])
        return torch.from_numpy(weights[labels.numpy()])

    return run


def scores_of(network: nn.Module, x: Tensor, column: slice = slice(None)) -> Callable[[np.ndarray], np.ndarray]:
    """What libraries that think in arrays call: images (n, i, j, channel) -> scores (n, class)."""

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            batch = torch.as_tensor(np.asarray(images), dtype=x.dtype, device=x.device).permute(0, 3, 1, 2)
            return network(batch)[:, column].cpu().numpy()

    return scores


def _bare_lime(network: nn.Module, x: Tensor, labels: Tensor, samples: int, layout: Layout) -> Run:
    """The images with covered segments and their scores; the fit is left out."""
    drawn = presence(samples, int(labels.max()) + 1).to(x.device)
    places = labels.to(x.device)

    def run() -> Tensor:
        cover = segment_means(x[0], places[None])
        with torch.no_grad():
            parts = [torch.where(part[:, places][:, None], x, cover) for part in drawn.split(layout.count)]
            return torch.cat([network(layout.laid(part)) for part in parts])

    return run


def partition_shap(device: torch.device, network: nn.Module, x: Tensor, evaluations: int) -> Contest:
    """Owen values of one class with a blurred absence; both open boxes in rounds of the same length."""
    model, plain = vx.Model.of(on(network, device)), on(network, device)
    method = vx.method(f"partition_shap(max_evals={evaluations}, classes='explained')")
    column = slice(CLASS, CLASS + 1)

    def shap_run(_: object) -> Run:
        import shap

        image = x[0].permute(1, 2, 0).cpu().numpy().copy()
        masker = shap.maskers.Image("blur(64,64)", image.shape)
        options = {"max_evals": evaluations, "fixed_context": None, "batch_size": 10, "silent": True}

        def run() -> Tensor:
            explainer = shap.explainers.Partition(scores_of(plain, x, column), masker)
            return torch.from_numpy(explainer(image[None], **options).values[0, ..., 0]).permute(2, 0, 1)

        return run

    def bare(layout: Layout) -> Run:
        prepared = folded(network, device, layout)

        def run() -> Tensor:
            with torch.no_grad():
                batch = layout.laid(x.expand(layout.count, *x.shape[1:]).clone())
                return torch.cat([prepared(batch)[:, column] for _ in range(-(-evaluations // layout.count))])

        return run

    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({CLASS})"), x),
        forward=lambda: plain(x),
        peers={"shap": Rival(make=shap_run, package="shap", compared=_same_values, differs="")},
        floor=Rival(make=bare, settings=layouts(10)),
    )


def _same_values(ours: Any, theirs: Any) -> tuple[Tensor, Tensor]:
    return flat(ours)[0], flat(theirs)
