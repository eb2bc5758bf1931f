"""Rows of the methods made of gradients: integrated gradients, SmoothGrad, and what `explain` adds to them."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, Run, same
from bench.floor import Layout, folded, layouts
from bench.networks import densenet121_3d, on, picture, resnet50, segresnet_3d
from voxplain.data.image import Image
from voxplain.ops.draws import normal
from voxplain.space.grid import Grid

CLASS = 1
STEPS = 50
NOISE = 0.15
"""Standard deviation of SmoothGrad's noise."""


def rows() -> list[Row]:
    """Integrated gradients and SmoothGrad of one image, and explain against bare torch."""
    aim = "1.4 x Captum at its best internal batch; within 1.1 of the floor"
    size, network = "1 x 3 x 224 x 224", "ResNet-50"
    found = [
        Row(
            name=name,
            work=f"{label}, {STEPS} {unit}",
            network=network,
            size=size,
            build=lambda device, build=build: build(device, resnet50(), picture(device, 1, 3, 224, 224), STEPS),
            goal=aim,
            limit="four fifths of a step are the same oneDNN convolutions for everyone; bare torch on a folded "
            "copy, the floor, does not reach the first aim either",
            repeats=3,
        )
        for name, label, unit, build in (
            ("integrated_gradients", "Integrated gradients", "steps", integrated_gradients),
            ("smoothgrad", "SmoothGrad", "samples", smoothgrad),
        )
    ]
    return [*found, _segmented(), *(_explained(side) for side in (32, 64, 128))]


def _segmented() -> Row:
    return Row(
        name="gradient_segresnet",
        work="Gradient of a class over the whole volume",
        network="3D SegResNet, 8 filters",
        size="1 x 4 x 48^3",
        build=lambda device: volume_gradient(device, segresnet_3d(), picture(device, 1, 4, 48, 48, 48)),
        repeats=5,
    )


def volume_gradient(device: torch.device, network: nn.Module, x: Tensor) -> Contest:
    """The gradient of a class's mean logit over all voxels."""
    model, method, plain = vx.Model.of(on(network, device)), vx.method("gradient"), on(network, device)

    def captum(_: object) -> Run:
        from captum.attr import Saliency

        read = lambda batch: plain(batch)[:, CLASS].flatten(1).mean(1)  # noqa: E731
        return lambda: Saliency(read).attribute(x, abs=False)

    def bare(layout: Layout) -> Run:
        prepared = folded(network, device, layout)
        read = lambda batch: prepared(batch)[:, CLASS].flatten(1).mean(1, keepdim=True).expand(-1, CLASS + 1)  # noqa: E731
        return lambda: slope(read, layout.laid(x))

    return Contest(
        ours=lambda: method(vx.Score(model, f"region({CLASS}, over='whole')"), x),
        forward=lambda: plain(x),
        peers={"Captum": Rival(make=captum, package="captum", compared=same)},
        floor=Rival(make=bare, settings=layouts(1), compared=same),
    )


def integrated_gradients(device: torch.device, network: nn.Module, x: Tensor, steps: int) -> Contest:
    """Gauss-Legendre points between zero and the image."""
    model, method = vx.Model.of(on(network, device)), vx.method(f"integrated_gradients(steps={steps})")
    plain = on(network, device)

    def captum(count: int) -> Run:
        from captum.attr import IntegratedGradients

        options = {"n_steps": steps, "method": "gausslegendre", "internal_batch_size": count}
        return lambda: IntegratedGradients(plain).attribute(x, target=CLASS, **options)

    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({CLASS})"), x),
        forward=lambda: plain(x[:1]),
        peers={
            "Captum": Rival(
                make=captum, settings=at_once(steps), knob="internal_batch_size", package="captum", compared=same
            )
        },
        floor=Rival(
            make=lambda layout: path_integral(folded(network, device, layout), x, steps, layout),
            settings=layouts(*at_once(steps)),
            compared=same,
        ),
    )


def smoothgrad(device: torch.device, network: nn.Module, x: Tensor, samples: int) -> Contest:
    """The mean gradient of noisy copies; Captum is handed our noise, which spares it the drawing."""
    model, method = vx.Model.of(on(network, device)), vx.method(f"smoothgrad(samples={samples}, noise_std={NOISE})")
    plain = on(network, device)
    noisy = torch.cat([x + NOISE * normal(0, [number], x.shape[1:]).to(x) for number in range(samples)])

    def bare(layout: Layout) -> Run:
        prepared = folded(network, device, layout)
        return lambda: torch.cat([slope(prepared, part) for part in layout.chunks(noisy)]).mean(0)

    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({CLASS})"), x),
        forward=lambda: plain(x[:1]),
        peers={
            "Captum": Rival(
                make=lambda count: _noise_tunnel(plain, x, noisy - x, count),
                settings=at_once(samples),
                knob="nt_samples_batch_size",
                package="captum",
                compared=same,
                differs="draws noise from torch's global state; here it was handed ours",
            )
        },
        floor=Rival(make=bare, settings=layouts(*at_once(samples)), compared=same),
    )


def _noise_tunnel(network: nn.Module, x: Tensor, noise: Tensor, count: int) -> Run:
    from captum.attr import NoiseTunnel, Saliency

    method = NoiseTunnel(Saliency(network))
    options = {"nt_type": "smoothgrad", "nt_samples": len(noise), "nt_samples_batch_size": count, "stdevs": NOISE}

    def run() -> Tensor:
        left = iter(noise.split(count))
        with patch("torch.normal", lambda mean, std: next(left)):
            return method.attribute(x, target=CLASS, abs=False, **options)

    return run


def at_once(count: int) -> tuple[int, ...]:
    """Numbers of samples that are tried at once."""
    return tuple(dict.fromkeys(max(1, number) for number in (min(count, 2), count // 5, count // 2)))


def slope(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of the explained class by a batch."""
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(network(leaf)[:, CLASS].sum(), leaf)[0]


def path_integral(network: nn.Module, x: Tensor, steps: int, layout: Layout) -> Run:
    """Integrated gradients as one would write them by hand, with the two ends that completeness needs."""
    points, shares = (torch.from_numpy(one) for one in np.polynomial.legendre.leggauss(steps))
    column = (-1, *[1] * (x.ndim - 1))
    alphas, weights = ((points + 1) / 2).reshape(column).to(x), (shares / 2).reshape(column).to(x.device)

    def run() -> Tensor:
        with torch.no_grad():
            network(layout.laid(torch.cat([x, torch.zeros_like(x)])))
        total = torch.zeros_like(x, dtype=torch.float64)
        for alpha, weight in zip(alphas.split(layout.count), weights.split(layout.count), strict=True):
            total += (slope(network, layout.laid(alpha * x)).double() * weight).sum(0, keepdim=True)
        return total * x

    return run


def _explained(side: int) -> Row:
    return Row(
        name=f"explain_{side}",
        work="`vx.explain` with integrated gradients, 32 steps, from image to attribution",
        network="3D DenseNet-121",
        size=f"1 x 1 x {side}^3",
        build=lambda device: explained(device, densenet121_3d(), side, 32),
        goal="the preparation, way back, certificate and hashes add at most 10 % to the floor at 128^3",
        repeats=3,
        long=side > 32,
    )


def explained(device: torch.device, network: nn.Module, side: int, steps: int) -> Contest:
    """The whole way against a bare loop; what the method alone takes stands beside it."""
    plain, x = on(network, device), picture(device, 1, 1, side, side, side)
    model, spec = vx.Model.of(plain), f"integrated_gradients(steps={steps})"
    image = Image.of(x[0].cpu().numpy(), Grid((side, side, side)))
    target = f"class_score({CLASS})"
    method: Callable[[object], Run] = lambda _: lambda: vx.method(spec)(vx.Score(model, target), x)  # noqa: E731
    return Contest(
        ours=lambda: vx.explain(model, image, spec, target=target, device=str(device)),
        forward=lambda: plain(x),
        peers={"Voxplain, the method alone": Rival(make=method, differs="only the map, no image, grid or certificate")},
        floor=Rival(
            make=lambda layout: path_integral(folded(network, device, layout), x, steps, layout),
            settings=layouts(*([1] if side > 64 else [1, 4, 16])),
        ),
    )
