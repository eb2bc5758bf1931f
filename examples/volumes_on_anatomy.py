"""Explain a NIfTI volume, an oblique one and a DICOM series, and check by numbers that each map lies on its anatomy.

    python examples/volumes_on_anatomy.py --data ../shared/data --out results/volumes

The hippocampus is explained with a small network that was taught its volume in a minute. The heads are explained with
an untrained one: their maps say where a map lies, and nothing about a head.
"""

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

import voxplain as vx
from voxplain.score.networks import small_regressor

Numbers = npt.NDArray[np.float64]

REGRESSOR = "voxplain.score.networks:small_regressor(spatial_dims=3)"
DENSENET = "monai.networks.nets:DenseNet121(spatial_dims=3, in_channels=1, out_channels=2)"
INTEGRATED = "integrated_gradients(steps=32, baseline='minimum')"
CROP = vx.Prepare(orientation="RAS", crop_pad=(40, 56, 44), percentile=(0, 99))
HEAD = vx.Prepare(orientation="RAS", size=(96, 96, 32), percentile=(0, 99))
EPOCHS, BATCH, RATE = 30, 8, 5e-3


@dataclass(frozen=True)
class Volume:
    """A volume and the network that it is shown to."""

    name: str
    image: Path
    model: str
    prepare: vx.Prepare
    mask: Path | None = None


def volumes(data: Path) -> list[Volume]:
    """One crop of the hippocampus from the test split, one oblique brain, one head as DICOM."""
    name = next(row["case"] for row in _hippocampi(data) if row["split"] == "test")
    crops, brain = data / "mri-3d/hippocampus", data / "mri-3d/brain-tumor-progression/PGBM-002_post"
    return [
        Volume(name, crops / f"images/{name}.nii.gz", REGRESSOR, CROP, crops / f"labels/{name}.nii.gz"),
        Volume("brain-t1ce", brain / "t1ce.nii.gz", DENSENET, HEAD),
        Volume("mr-head-dicom", data / "dicom/mr-head", DENSENET, HEAD),
    ]


def voxels_by_header(image: Path, count: int = 4000) -> tuple[Numbers, Numbers]:
    """World positions (count, 3) in RAS+ mm and values (count,) of voxels by lot, from the file's own header alone."""
    generator = np.random.default_rng(0)
    if image.is_dir():
        files = sorted(image.glob("*.dcm"))
        found = [_dicom_voxels(file, generator, count // len(files)) for file in files]
        return np.concatenate([places for places, _ in found]), np.concatenate([values for _, values in found])
    volume: Any = nibabel.load(image)
    indices = np.stack([generator.integers(length, size=count) for length in volume.shape])
    places = volume.affine[:3, :3] @ indices + volume.affine[:3, 3:]
    return places.T, volume.get_fdata()[tuple(indices)]


def _dicom_voxels(file: Path, generator: np.random.Generator, count: int) -> tuple[Numbers, Numbers]:
    header = pydicom.dcmread(file)
    row, column = generator.integers(header.Rows, size=count), generator.integers(header.Columns, size=count)
    along_row, along_column = np.reshape(np.array(header.ImageOrientationPatient, dtype=np.float64), (2, 3))
    down, right = (float(step) for step in header.PixelSpacing)
    first = np.array(header.ImagePositionPatient, dtype=np.float64)
    places = first + np.outer(column * right, along_row) + np.outer(row * down, along_column)
    slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
    # DICOM counts to the patient's left and back, NIfTI to the right and front.
    return places * (-1, -1, 1), header.pixel_array[row, column] * slope + intercept


def lies_on(image: Path, shown: Path, map_file: Path) -> dict[str, Any]:
    """How far the image in the run folder and the map are from where the source file's own header puts its voxels."""
    picture: Any = nibabel.load(shown)
    relevance: Any = nibabel.load(map_file)
    places, values = voxels_by_header(image)
    at = (np.linalg.inv(relevance.affine) @ np.c_[places, np.ones(len(places))].T)[:3]
    nearest = np.clip(np.rint(at), 0, np.array(picture.shape[:3])[:, None] - 1).astype(int)
    same = np.isclose(voxels(shown)[tuple(nearest)], values, rtol=1e-5)
    return {
        "voxels_looked_up": len(values),
        "share_found_with_their_value": float(same.mean()),
        "furthest_from_a_voxel_centre": float(np.abs(at - nearest).max()),
        "map_shape_is_the_image_shape": relevance.shape[:3] == picture.shape[:3],
        "affine_gap_mm": float(np.abs(relevance.affine - picture.affine).max()),
    }


def follows(relevance: Numbers, picture: Numbers) -> dict[str, float]:
    """Correlation of a map's size with the image: as written, mirrored along each axis, and moved by two voxels.

    What starts from black is small where the image is dark, so the place where it fits best shows where it belongs.
    """
    size = np.abs(relevance)
    moved = {"as_written": size}
    moved |= {f"mirrored_{axis}": np.flip(size, n) for n, axis in enumerate("ijk")}
    moved |= {f"shifted_{axis}": np.roll(size, 2, n) for n, axis in enumerate("ijk")}
    return {name: float(np.corrcoef(values.ravel(), picture.ravel())[0, 1]) for name, values in moved.items()}


def train_regressor(data: Path, weights: Path) -> dict[str, float]:
    """Teach a small network the volume of the hippocampus in mm3; the best epoch on `val` is written.

    Returns mean absolute errors on `test`: of the network, and of always saying the mean of `train`.
    """
    torch.manual_seed(0)
    x, y = _crops(data)
    mean, deviation = y["train"].mean(), y["train"].std()
    network: Any = small_regressor(spatial_dims=3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * -(-len(y["train"]) // BATCH))
    best = float("inf")
    for _ in range(EPOCHS):
        _epoch(network, x["train"], (y["train"] - mean) / deviation, optimizer, schedule)
        error = float((_said(network, x["val"]) * deviation + mean - y["val"]).abs().mean())
        if error < best:
            best, kept = error, {name: value.clone() for name, value in network.state_dict().items()}
    # The scale goes into the last layer, so that the output, and with it every map, is in mm3.
    kept["head.weight"] *= deviation
    kept["head.bias"] = kept["head.bias"] * deviation + mean
    network.load_state_dict(kept)
    save_file(kept, weights)
    wrong = (_said(network, x["test"]) - y["test"]).abs().mean()
    return {"error_mm3": float(wrong), "error_of_the_mean_mm3": float((y["test"] - mean).abs().mean())}


def _epoch(network: Any, x: Tensor, y: Tensor, optimizer: Any, schedule: Any) -> None:
    network.train()
    for batch in torch.randperm(len(y)).split(BATCH):
        shifted = x[batch].roll(torch.randint(-2, 3, (3,)).tolist(), dims=(2, 3, 4))
        loss = functional.mse_loss(network(shifted)[:, 0], y[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()


def _said(network: Any, x: Tensor) -> Tensor:
    network.eval()
    with torch.no_grad():
        return torch.cat([network(batch)[:, 0] for batch in x.split(BATCH)])


def _hippocampi(data: Path) -> list[dict[str, str]]:
    with (data / "mri-3d/hippocampus/labels.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _crops(data: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Prepared crops (case, 1, i, j, k) and volumes in mm3 (case,) of each split."""
    folder, rows = data / "mri-3d/hippocampus", _hippocampi(data)
    x, y = {}, {}
    for split in ("train", "val", "test"):
        part = [row for row in rows if row["split"] == split]
        prepared = [CROP(vx.load_image(folder / row["image"]), 3).values for row in part]
        x[split] = torch.from_numpy(np.stack(prepared))
        y[split] = torch.tensor([float(row["volume_mm3"]) for row in part])
    return x, y


def untrained_densenet(weights: Path) -> None:
    """Write the weights of a 3D DenseNet-121 as a seed makes them."""
    from monai.networks.nets.densenet import DenseNet121

    torch.manual_seed(0)
    save_file(DenseNet121(spatial_dims=3, in_channels=1, out_channels=2).state_dict(), weights)


def explain(volume: Volume, weights: Path, out: Path) -> dict[str, Any]:
    """One run of the command line, and where its maps lie."""
    volume.prepare.write(out / f"{volume.name}-prepare.toml")
    folder = out / volume.name
    command = [sys.executable, "-m", "voxplain", "explain", "--image", volume.image, "--id", volume.name]
    command += ["--model", volume.model, "--weights", weights, "--prepare", out / f"{volume.name}-prepare.toml"]
    command += ["--head", "regression"] if volume.model == REGRESSOR else []
    command += ["--mask", volume.mask] if volume.mask else []
    command += ["--method", "grad_cam", "--method", INTEGRATED, "--out", folder]
    subprocess.run([str(word) for word in command], check=True)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    shown = folder / "cases" / volume.name / "image.nii.gz"
    return {
        row["method"]: {
            **lies_on(volume.image, shown, folder / row["map"]),
            "follows_the_image": follows(voxels(folder / row["map"]), voxels(shown)),
            **{name: row[name] for name in ("certificate", "share_in_mask", "mask_share")},
        }
        for row in rows
    }


def voxels(file: Path) -> Numbers:
    """The values (i, j, k) of a NIfTI file of one channel."""
    volume: Any = nibabel.load(file)
    return np.asarray(volume.get_fdata(), dtype=np.float64).reshape(volume.shape[:3])


def run(data: Path, out: Path) -> dict[str, Any]:
    """Train where no weights lie, explain every volume, and write volumes.json."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {REGRESSOR: out / "regressor.safetensors", DENSENET: out / "densenet.safetensors"}
    errors = out / "regressor.json"
    if not errors.exists():
        print("teaching a small network the volume of the hippocampus", flush=True)
        errors.write_text(json.dumps(train_regressor(data, weights[REGRESSOR])), encoding="utf-8")
    if not weights[DENSENET].exists():
        untrained_densenet(weights[DENSENET])
    found = {volume.name: explain(volume, weights[volume.model], out) for volume in volumes(data)}
    summary = {"regressor": json.loads(errors.read_text(encoding="utf-8")), "volumes": found}
    (out / "volumes.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def main() -> None:
    """Read the two folders from the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--out", type=Path, required=True, help="where to write")
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.data, chosen.out), indent=1))
    print(f"pictures: {chosen.out}/*/figures, pages: {chosen.out}/*/report/index.html")


if __name__ == "__main__":
    main()
