"""Rows of metrics that Quantus has, too: the same network, image, maps and numbers of steps.

`python -m bench.quantus_times` prints the processor time of every row and of all together, the least of several turns.
Quantus is installed by `pip install --no-deps quantus xarray`, which leaves OpenCV as it is.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, Run
from bench.evaluation import CLASS, SIDE, Subject, held_against, looked_at, subject
from bench.networks import on, settled
from voxplain.metrics.base import MapMetric, MaskMetric
from voxplain.metrics.base_method import MethodMetric, measure_methods
from voxplain.metrics.base_model import ModelMetric
from voxplain.metrics.together import measure_all

VOXELS = SIDE * SIDE
NEIGHBOURS = 10
PACKAGE = "quantus"


@dataclass(frozen=True)
class Shared:
    """Metrics that both have: our specs, and Quantus' classes with their options."""

    name: str
    work: str
    ours: tuple[str, ...]
    theirs: Mapping[str, dict[str, Any]]
    differs: str
    again: bool = False
    """True where the method explains again."""
    call: dict[str, Any] = field(default_factory=dict)


PERTURBED = {"perturb_baseline": 0.0}
SHARED = (
    Shared(
        "deletion",
        "Deletion in 32 steps",
        ("deletion(steps=32)",),
        {"PixelFlipping": {"features_in_step": VOXELS // 32, **PERTURBED}},
        "",
    ),
    Shared(
        "regions",
        "MoRF curve over 64 regions of 28 x 28",
        ("morf_aopc(steps=64, patch=28)",),
        {"RegionPerturbation": {"patch_size": 28, "regions_evaluation": 64, **PERTURBED}},
        "",
    ),
    Shared(
        "faithfulness",
        "Faithfulness correlation over 100 sets of a tenth",
        ("faithfulness_correlation(samples=100, share=0.1)",),
        {"FaithfulnessCorrelation": {"nr_runs": 100, "subset_size": VOXELS // 10, **PERTURBED}},
        "other random sets",
    ),
    Shared("irof", "IROF over superpixels", ("irof(segments=100)",), {"IROF": {}}, "other superpixels"),
    Shared(
        "road",
        "ROAD at 7 shares",
        ("road",),
        {"ROAD": {"percentages": [10, 20, 30, 40, 50, 70, 90]}},
        "it tells whether the class stays, and removes the most relevant voxels only",
    ),
    Shared(
        "neighbours",
        "Max- and average-sensitivity, Lipschitz, relative input and output stability over 10 neighbours",
        ("max_sensitivity", "avg_sensitivity", "local_lipschitz", "relative_input_stability",
         "relative_output_stability"),
        {name: {"nr_samples": NEIGHBOURS} for name in (
            "MaxSensitivity", "AvgSensitivity", "LocalLipschitzEstimate", "RelativeInputStability",
            "RelativeOutputStability")},
        "each metric draws neighbours of its own",
        again=True,
    ),
    Shared(
        "mprt",
        "MPRT, every layer a stage",
        ("mprt(stages=0)",),
        {"MPRT": {"layer_order": "top_down"}},
        "another draw of weights, and norms keep their statistics",
        again=True,
    ),
    Shared(
        "random_logit",
        "Random logit",
        ("random_logit",),
        {"RandomLogit": {"num_classes": 1000}},
        "another class, and similarity of structure",
        again=True,
    ),
    Shared(
        "localisation",
        "Pointing game, mass and rank accuracy, top-100, AUROC",
        ("pointing_game", "relevance_mass", "relevance_rank", "top_k(k=100)", "auroc"),
        {"PointingGame": {}, "RelevanceMassAccuracy": {}, "RelevanceRankAccuracy": {}, "TopKIntersection": {"k": 100},
         "AUC": {}},
        "",
    ),
    Shared(
        "complexity",
        "Gini index, entropy, effective complexity",
        ("sparseness", "entropy", "effective_complexity"),
        {"Sparseness": {}, "Complexity": {}, "EffectiveComplexity": {}},
        "",
    ),
)  # fmt: skip


def rows() -> list[Row]:
    """Every kind of metric on its own, and all of them together."""
    kinds = [*((f"quantus_{one.name}", one.work, (one,)) for one in SHARED), ("quantus_all", "All of these", SHARED)]
    return [
        Row(
            name=name,
            work=f"{work}; maps of gradient",
            network="ResNet-18 of one channel",
            size=f"1 x 1 x {SIDE}^2",
            build=partial(contest, shared),
            goal="at most half of Quantus' time (2 x)" if len(shared) > 1 else "",
            repeats=3,
            kinds=("cpu",),
            long=len(shared) == 1,
        )
        for name, work, shared in kinds
    ]


def contest(shared: Sequence[Shared], device: torch.device) -> Contest:
    """Ours, which share passes, and theirs one after the other."""
    case = grey_case()
    plain = on(grey_resnet18(), device)
    differs = "; ".join(one.differs for one in shared if one.differs)
    return Contest(
        ours=partial(ours, case, shared),
        forward=lambda: plain(case.x),
        peers={"Quantus": Rival(make=lambda _: theirs(case, shared), package=PACKAGE, alike=True, differs=differs)},
    )


@cache
def grey_resnet18() -> nn.Module:
    """ResNet-18 for one channel: on three, Quantus' ROAD fails, and its pixel flipping takes three times the steps."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None)
    network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return settled(network, (1, 64, 64))


def grey_case() -> Subject:
    """One slice of the phantom."""
    return subject(network=grey_resnet18(), channels=1)


def ours(case: Subject, shared: Sequence[Shared]) -> None:
    """All numbers of the map of `gradient`, made anew."""
    metrics = [vx.metric(spec) for one in shared for spec in one.ours]
    values = gradient_map(case)
    asking = [metric for metric in metrics if isinstance(metric, ModelMetric)]
    if asking:
        measure_all(asking, case.score, case.x, [values])
    attribution = case.laid(values)
    for metric in metrics:
        if isinstance(metric, MaskMetric):
            held_against(metric, [attribution], case.mask)
        elif isinstance(metric, MapMetric):
            looked_at(metric, [attribution])
    again = [metric for metric in metrics if isinstance(metric, MethodMetric)]
    if again:
        measure_methods(again, [(case.score, case.x)], [case.explain("gradient")])


@cache
def gradient_map(case: Subject) -> Tensor:
    """The map that is measured, made once."""
    return case.explain("gradient")(case.score, case.x)[0]


def theirs(case: Subject, shared: Sequence[Shared]) -> Run:
    """The same by Quantus, each metric with options as near to ours as it allows."""
    import quantus

    vars(np).setdefault("trapz", np.trapezoid)  # its IROF asks for what NumPy 2.4 no longer has
    values = gradient_map(case)
    mask = np.ascontiguousarray(case.mask.values[0, :, :, 0].T != 0)[None, None].astype(np.float32)
    arrays = {"x_batch": case.x.numpy(), "y_batch": np.array([CLASS])}
    summed = values.sum(dim=0, keepdim=True)[None].float().numpy()
    always = {"abs": False, "normalise": False, "disable_warnings": True, "return_aggregate": False}

    def run() -> None:
        for one in shared:
            for name, options in one.theirs.items():
                maps = {} if one.again else {"a_batch": summed}
                asking = {"explain_func": explained} if one.again else {}
                masks = {"s_batch": mask} if one.name == "localisation" else {}
                made = getattr(quantus, name)(**always, **options)
                network = on(grey_resnet18(), torch.device("cpu"))
                made(model=network, channel_first=True, device="cpu", **arrays, **maps, **asking, **masks)

    return run


def explained(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> Any:
    """The gradient of each class score in bare torch, as fast as Quantus' user can have it."""
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32).requires_grad_()
    chosen = model(x).gather(1, torch.as_tensor(np.asarray(targets)).long().reshape(-1, 1)).sum()
    return torch.autograd.grad(chosen, x)[0].sum(dim=1, keepdim=True).numpy()


def main(arguments: Sequence[str]) -> int:
    """Print a table of processor seconds; the exit code."""
    parser = argparse.ArgumentParser(prog="bench.quantus_times", description=__doc__)
    parser.add_argument("--repeats", type=int, default=2, help="turns of each; the least time counts")
    parser.add_argument("--only", nargs="+", default=[one.name for one in SHARED], metavar="KIND", help="some kinds")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # processor time of one thread is the same beside other work
    warnings.simplefilter("ignore")
    case, found = grey_case(), {}
    print("| metrics | ours, s | Quantus, s | Quantus / ours |\n|---|---|---|---|")
    for one in [one for one in SHARED if one.name in chosen.only]:
        found[one.name] = own, other = least([partial(ours, case, [one]), theirs(case, [one])], chosen.repeats)
        print(f"| {one.work} | {own:.2f} | {other:.2f} | {other / own:.1f} |", flush=True)
    own, other = (sum(times[place] for times in found.values()) for place in (0, 1))
    print(f"| all | {own:.2f} | {other:.2f} | {other / own:.1f} |")
    return 0


def least(runs: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """The least processor seconds of each run; they take turns."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for place, run in enumerate(runs):
            begin = time.process_time()
            run()
            seconds[place].append(time.process_time() - begin)
    return [min(some) for some in seconds]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
