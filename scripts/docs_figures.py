"""Draws the pictures of docs/figures.md: simulates phantoms, trains small networks, explains them, draws. Minutes."""

import csv
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image as Pillow
from safetensors.torch import save_file
from torch import Tensor, nn

from voxplain.data.case import Case, read_cases
from voxplain.report import (
    figures_ensemble,
    figures_grids,
    figures_layers,
    figures_matrix,
    figures_measured,
    figures_montage,
    figures_pumpkins,
    figures_rows,
    figures_trust,
)
from voxplain.report import figures_segments as segments
from voxplain.report.figures import png
from voxplain.score.networks import NETWORKS

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH, QUALITY = 760, 40
"""Pixels a picture is wide at most, and WebP quality: a page of small files."""

CLASSES = ("glioma", "meningioma", "pituitary")
LABELS = "background,necrosis,oedema,enhancing"
LAYERS = ["entry.conv", *(f"{side}.{n}.conv" for side in ("down", "up") for n in range(3)), "head"]
DEPTHS = [f"blocks.{n}" for n in range(4)]
RANKED = ("grad_cam", "hires_cam", "gradient", "integrated_gradients(steps=8)", "occlusion(window=16, stride=16)")
NOISY = "smoothgrad(samples=12, inner='gradient')"
MEMBERS = ("grad_cam", "hires_cam", "occlusion(window=16, stride=8)")


def main() -> int:
    """Redraw every picture; the exit code."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as home:
        for draw in (tumours, pumpkins, gliomas):
            for name, figure in draw(Path(home)):
                keep(name, figure)
    return 0


def gliomas(home: Path) -> Iterator[tuple[str, Figure]]:
    """A small 3D U-Net: the row of methods and the flow through its layers."""
    cases = simulated(home, "glioma(size=[48, 48, 48])", 14)
    volumes = torch.from_numpy(np.stack([case.image.values for case in cases]))
    volumes = volumes / volumes.amax((2, 3, 4), keepdim=True)
    labels = torch.from_numpy(np.stack([case.mask.values[0] for case in cases])).long()
    spec = "small_unet(spatial_dims=3, channels=4, classes=4, depth=3)"
    module = NETWORKS["small_unet"](spatial_dims=3, channels=4, classes=4, depth=3)

    def loss(said: Tensor, label: Tensor) -> Tensor:
        return nn.functional.cross_entropy(said, label, weight=torch.tensor([0.2, 1, 1, 1]))

    weights = trained(module, volumes, labels, loss, epochs=12, rate=5e-3, batch=2, home=home)
    asked = ["--percentile", "0,100", "--class-names", LABELS, "--target", "region(2)"]
    table = some(cases, home / "glioma", 2, 1)
    methods = ["gradient", "guided_backprop", "integrated_gradients(steps=16)", "grad_cam(layer='up.2.conv')"]
    run = explained(home / "run-glioma", spec, weights, table, [*methods, "guided_grad_cam", NOISY], asked)
    yield "figures-methods", figures_rows.methods_from_run(run, columns=5)
    yield "figures-montage", figures_montage.montage_from_run(run, "integrated_gradients", slices=9, columns=5)
    yield "figures-error", figures_trust.error_from_run(run, "smoothgrad")
    flow = explained(home / "run-flow", spec, weights, table, [f"grad_cam(layer={LAYERS})"], asked)
    yield "figures-flow", figures_layers.flow_from_run(flow, "grad_cam", columns=5)


def tumours(home: Path) -> Iterator[tuple[str, Figure]]:
    """A small classifier: right against wrong, segments for and against, an ensemble."""
    cases = simulated(home, "tumours", 200)
    pictures = torch.from_numpy(np.stack([case.image.values[..., 0].transpose(0, 2, 1) for case in cases]))
    pictures = nn.functional.avg_pool2d(pictures / 255, 2)
    labels = torch.tensor([CLASSES.index(case.label or "") for case in cases])
    spec = "small_cnn_2d(classes=3, width=8, depth=4)"
    module, seen = NETWORKS["small_cnn_2d"](classes=3, width=8, depth=4), len(cases) - 40
    loss = nn.functional.cross_entropy
    weights = trained(module, pictures[:seen], labels[:seen], loss, epochs=25, rate=1e-2, home=home)
    asked = ["--size", "112,112", "--scale", str(1 / 255), "--class-names", ",".join(CLASSES)]
    table = some(cases, home / "tumours", seen, 40)
    run = explained(home / "run-tumours", spec, weights, table, ["grad_cam"], asked)
    few = some(cases, home / "tumours", seen, 4)
    deep = explained(home / "run-layers", spec, weights, few, [f"grad_cam(layer={DEPTHS})"], asked)
    samples = list(figures_grids.samples_from_run(run, "grad_cam"))
    right, wrong = ([one for one in samples if one.wrong is flag] for flag in (False, True))
    yield "figures-matrix", figures_matrix.layer_matrix_from_run(deep, "grad_cam")
    yield "figures-right-wrong", figures_grids.draw_right_wrong(right[:2], wrong[:2])
    one = some(cases, home / "tumours", seen + 2, 1)
    ranked = explained(home / "run-ranked", spec, weights, some(cases, home / "tumours", seen, 24), list(RANKED), asked)
    yield "figures-distributions", figures_measured.distributions_from_run(ranked)
    yield "figures-ranks", figures_measured.ranks_from_run(ranked)
    methods = [f"ensemble(of={list(MEMBERS)})", *MEMBERS, "lime(segmenter='slic', samples=500)"]
    run = explained(home / "run-one", spec, weights, one, methods, asked)
    found, cut = segments.segments_from_run(run)
    yield "figures-segments", segments.draw_signed([(found.identifier, found.image, cut)])
    yield "figures-ensemble", figures_ensemble.fused_from_run(run)


def pumpkins(home: Path) -> Iterator[tuple[str, Figure]]:
    """PumpkinNet: heat maps by age, with the true marks."""
    cases = simulated(home, "pumpkins", 300)
    pictures = torch.from_numpy(np.stack([case.image.values[..., 0].transpose(0, 2, 1) for case in cases])) / 65535
    ages = torch.tensor([float(case.label or "nan") for case in cases])
    module = NETWORKS["pumpkin_net"](bias=float(ages.mean()))

    def loss(said: Tensor, age: Tensor) -> Tensor:
        return nn.functional.mse_loss(said.flatten(), age)

    weights = trained(module, pictures[:240], ages[:240], loss, epochs=25, rate=8e-4, home=home)
    table = some(cases, home / "pumpkins", 240, 8)
    run = explained(
        home / "run-pumpkins", "pumpkin_net", weights, table, ["lrp"], ["--head", "regression", "--scale", "1.5259e-5"]
    )
    found = list(figures_pumpkins.pumpkins_from_run(run, home / "pumpkins" / "cases.csv"))
    yield "figures-pumpkins", figures_pumpkins.draw_gallery(found, pointers=True, columns=4)


def simulated(home: Path, spec: str, count: int) -> list[Case]:
    """Phantoms of one kind."""
    folder = home / spec.partition("(")[0]
    voxplain("simulate", spec, "--n", str(count), "--seed", "5", "--out", str(folder))
    return read_cases(folder / "cases.csv")


def trained(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    rate: float,
    batch: int = 4,
    home: Path,
) -> Path:
    """The weights of a network that learned the targets, as a file."""
    steps = torch.optim.Adam(module.parameters(), lr=rate)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(batch):
            steps.zero_grad()
            loss(module(inputs[rows]), targets[rows]).backward()
            steps.step()
    file = home / f"{type(module).__name__}.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, file)
    return file


def some(cases: list[Case], home: Path, start: int, count: int) -> Path:
    """A table of some of the phantoms, beside their own one so that its paths hold."""
    wanted = {case.identifier for case in cases[start : start + count]}
    with (home / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    file = home / f"{start}-{count}.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["id"] in wanted)
    return file


def explained(run: Path, spec: str, weights: Path, table: Path, methods: list[str], asked: list[str]) -> Path:
    """The run folder of an explanation."""
    each = [part for one in methods for part in ("--method", one)]
    given = ["--model", spec, "--weights", str(weights), "--cases", str(table), *each, *asked]
    voxplain("explain", *given, "--out", str(run))
    return run


def voxplain(*arguments: str) -> None:
    """Run a command of the package; a failure stops the script with its message."""
    subprocess.run([sys.executable, "-m", "voxplain", *arguments], check=True, stdout=subprocess.DEVNULL)


def keep(name: str, figure: Figure) -> None:
    """Write a figure small enough for a page."""
    picture = Pillow.open(io.BytesIO(png(figure))).convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Pillow.Resampling.LANCZOS)
    file = PICTURES / f"{name}.webp"
    picture.save(file, quality=QUALITY, method=6)
    print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
