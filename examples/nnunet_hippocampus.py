"""Train a tiny nnU-Net v2 on hippocampus cases and explain one of them; needs an environment with nnunetv2.

python examples/nnunet_hippocampus.py --data ../shared/data --out results/nnunet
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel

DATASET, CONFIGURATION, PLANS = "Dataset004_Hippocampus", "3d_fullres", "nnUNetPlans"
CASES, EPOCHS, ITERATIONS, BATCH = 40, 14, 60, 4
"""Training cases, epochs, steps of one epoch, patches a step: minutes on two cores, no network for anyone to use."""

TRAINER = "nnUNetTrainerNoDA"
"""nnU-Net's trainer without augmentation, whose work on a processor takes longer than the network's own."""

NARROWER = 4
"""Channels of every level of the network are divided by this."""

METHODS = ("grad_cam", "lrp", "integrated_gradients(steps=32)", "occlusion(window=8)")
LABELS = {"background": 0, "anterior": 1, "posterior": 2}


def main() -> None:
    """Everything in turn; what is already there is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with mri-3d/hippocampus")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    source, out = chosen.data / "mri-3d" / "hippocampus", chosen.out.resolve()
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(out / name)
    rows = list(csv.DictReader((source / "labels.csv").open()))
    fill_raw(source, [row for row in rows if row["split"] == "train"][:CASES], out / "raw" / DATASET)
    plan(out)
    folder = train(out)
    test = next(row for row in rows if row["split"] == "test")
    explain(folder, source / test["image"], source / test["label"], out)


def fill_raw(source: Path, rows: list[dict[str, str]], folder: Path) -> None:
    """Copy cases into nnU-Net's layout: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for row in rows:
        shutil.copy(source / row["image"], folder / "imagesTr" / f"{row['case']}_0000.nii.gz")
        shutil.copy(source / row["label"], folder / "labelsTr" / f"{row['case']}.nii.gz")
    about = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": len(rows), "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about))


def plan(out: Path) -> None:
    """Let nnU-Net plan and preprocess."""
    if not (out / "preprocessed" / DATASET / f"{PLANS}.json").is_file():
        program = Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess")
        subprocess.run([program, "-d", "4", "-c", CONFIGURATION, "-npfp", "1", "-np", "1"], check=True)


def narrowed(plans: dict[str, Any]) -> dict[str, Any]:
    """The plans with a narrow network and a batch of our size; what nnU-Net planned stays on disk as it is."""
    chosen = plans["configurations"][CONFIGURATION]
    options = chosen["architecture"]["arch_kwargs"]
    options["features_per_stage"] = [width // NARROWER for width in options["features_per_stage"]]
    chosen["batch_size"] = BATCH
    return plans


def train(out: Path) -> Path:
    """A short training by nnU-Net's own trainer; the folder that it leaves."""
    folder = out / "results" / DATASET / f"{TRAINER}__{PLANS}__{CONFIGURATION}"
    if (folder / "fold_0" / "checkpoint_final.pth").is_file():
        return folder
    # No processes beside this one make batches; while planning, nnU-Net takes the same number for its threads.
    os.environ |= {"nnUNet_n_proc_DA": "0", "nnUNet_compile": "false"}
    import torch
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

    home = out / "preprocessed" / DATASET
    plans, about = (json.loads((home / name).read_text()) for name in (f"{PLANS}.json", "dataset.json"))
    settings = narrowed(plans) | {"continue_training": False}
    trainer: Any = nnUNetTrainerNoDA(settings, CONFIGURATION, 0, about, device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = EPOCHS, ITERATIONS, 2
    trainer.run_training()
    return folder


def explain(folder: Path, image: Path, mask: Path, out: Path) -> None:
    """The command line on the folder that nnU-Net left."""
    from voxplain.data.prepare import Prepare
    from voxplain.score.nnunet_plans import preparation

    options, differs = preparation(json.loads((folder / "plans.json").read_text()), CONFIGURATION)
    Prepare.of(options).write(folder / "prepare.toml")  # lies beside the model, where the command line finds it
    print("prepared otherwise than by nnU-Net:", *differs, sep="\n  ")
    command = ["explain", "--image", str(image), "--mask", str(mask), "--model", str(folder), "--trust", str(folder)]
    command += ["--target", "region(1, over='mask')", "--out", str(out / "explained")]
    for method in METHODS:
        command += ["--method", method]
    subprocess.run([sys.executable, "-m", "voxplain", *command], check=True)
    prediction = next((out / "explained" / "cases").glob("*/prediction.nii.gz"))
    for name, label in LABELS.items():
        if label:
            print(f"Dice of the {name} part: {dice(prediction, mask, label):.2f}")


def dice(first: Path, second: Path, label: int) -> float:
    """Overlap of one label in two volumes on one grid."""
    volumes: list[Any] = [nibabel.load(path) for path in (first, second)]
    one, other = (volume.get_fdata() == label for volume in volumes)
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


if __name__ == "__main__":
    main()
