"""Fine-tune SqueezeNet on brain tumour slices, explain 24 of them, and lay 3D maps over the anatomy they come from.

    python examples/brain_tumour_slices.py --data ../shared/data --out results/brain-tumour

Everything is chosen on the patients of `val`; `test` is opened once, after training. What exists is not made again.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import volumes_on_anatomy
from fine_tuning import Labelled, fine_tune, imagenet_squeezenet, probabilities
from safetensors.torch import save_file

import voxplain as vx
from voxplain.errors import InputError

Numbers = npt.NDArray[np.float64]

CLASSES = ("glioma", "meningioma", "pituitary")
MODEL = f"torchvision.models:squeezenet1_0(num_classes={len(CLASSES)})"
PREPARE = vx.Prepare(
    size=(224, 224), scale=1 / 255, grey_to_rgb=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
METHODS = (
    "occlusion(window=32, stride=16, fill='minimum')",
    "gradient",
    "integrated_gradients(steps=32, baseline='minimum')",
    "grad_cam",
)
"""Covered with black and started from black, as it is outside the head: 0 would be grey after mean and std."""


@dataclass(frozen=True)
class Slice:
    """One row of the table of slices."""

    name: str
    image: Path
    mask: Path
    label: str
    patient: str
    split: str


def read_slices(folder: Path) -> list[Slice]:
    """The slices of labels.csv; raises `InputError` where a patient is in two splits."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    slices = [
        Slice(Path(r["file"]).stem, folder / r["file"], folder / r["mask"], r["label"], r["patient_id"], r["split"])
        for r in rows
    ]
    check_no_leak(slices)
    return slices


def check_no_leak(slices: Iterable[Slice]) -> None:
    """Raise `InputError` unless all slices of a patient lie in one split."""
    home: dict[str, str] = {}
    for one in slices:
        if home.setdefault(one.patient, one.split) != one.split:
            found = f"{home[one.patient]!r} and {one.split!r}"
            raise InputError(f"patient {one.patient!r} must be in one split, got {found}")


def patient_interval(
    values: npt.ArrayLike,
    patients: Sequence[str],
    statistic: Callable[[Numbers], Any] = np.mean,
    *,
    draws: int = 5000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile interval of a statistic over slices when whole patients are drawn again with replacement."""
    numbers, owners = np.asarray(values, dtype=np.float64), np.asarray(patients)
    groups = [numbers[owners == patient] for patient in np.unique(owners)]
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(groups), size=(draws, len(groups)))
    found = [float(statistic(np.concatenate([groups[n] for n in row]))) for row in drawn]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def choose_cases(slices: Iterable[Slice], per_class: int = 8, seed: int = 0) -> list[Slice]:
    """`per_class` slices of each class by lot; no patient comes twice while another has not come once."""
    mixed = sorted(slices, key=lambda one: one.name)
    np.random.default_rng(seed).shuffle(mixed)
    turns: Counter[str] = Counter()
    ranked = []
    for one in mixed:
        ranked.append((turns[one.patient], one))
        turns[one.patient] += 1
    ranked.sort(key=lambda pair: pair[0])
    return [one for label in CLASSES for one in [s for _, s in ranked if s.label == label][:per_class]]


def prepared(slices: Sequence[Slice]) -> Labelled:
    """Pictures (slice, 3, 224, 224), prepared as `voxplain explain` will prepare them, and class numbers."""
    pictures = np.stack([PREPARE(vx.load_image(one.image), 2).values for one in slices])
    return torch.from_numpy(pictures), torch.tensor([CLASSES.index(one.label) for one in slices])


def train(slices: Sequence[Slice], imagenet: Path, weights: Path) -> dict[str, Any]:
    """Fine-tune on `train`, choose the epoch on `val`, write the weights, and only then open `test`."""
    part = {split: [one for one in slices if one.split == split] for split in ("train", "val", "test")}
    network = imagenet_squeezenet(imagenet, len(CLASSES))
    history = fine_tune(network, prepared(part["train"]), prepared(part["val"]))
    save_file(network.state_dict(), weights)
    pictures, labels = prepared(part["test"])
    said = probabilities(network, pictures).argmax(dim=1)
    right = (said == labels).double().numpy()
    patients = [one.patient for one in part["test"]]
    confusion = torch.bincount(labels * len(CLASSES) + said, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), -1)
    return {
        "val": history,
        "test_slices": len(right),
        "test_patients": len(set(patients)),
        "test_accuracy": float(right.mean()),
        "test_accuracy_interval": patient_interval(right, patients),
        "test_confusion": dict(zip(CLASSES, confusion.tolist(), strict=True)),
    }


def write_cases(table: Path, chosen: Iterable[Slice]) -> None:
    """The table that `voxplain explain --cases` reads; no target column: the predicted class is explained."""
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "image", "mask", "label", "group", "split"])
        for one in chosen:
            writer.writerow([one.name, one.image.resolve(), one.mask.resolve(), one.label, one.patient, one.split])


def trained(data: Path, out: Path, slices: Sequence[Slice], retrain: bool) -> dict[str, Any]:
    """What training gave, from an earlier start where there was one; maps of older weights are removed."""
    told = out / "training.json"
    if retrain or not told.exists():
        print("fine-tuning SqueezeNet", flush=True)
        for stale in ("run", "volumes"):
            shutil.rmtree(out / stale, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        PREPARE.write(out / "prepare.toml")
        found = train(slices, data / "weights/squeezenet1_0_imagenet.npz", out / "squeezenet.safetensors")
        told.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found = json.loads(told.read_text(encoding="utf-8"))
    return dict(found)


def explain(out: Path) -> list[dict[str, Any]]:
    """Run the command line over cases.csv (cases that are done are kept) and give back its rows."""
    command = [sys.executable, "-m", "voxplain", "explain", "--cases", out / "cases.csv", "--model", MODEL]
    command += ["--weights", out / "squeezenet.safetensors", "--prepare", out / "prepare.toml"]
    command += ["--class-names", ",".join(CLASSES), "--out", out / "run"]
    command += [word for method in METHODS for word in ("--method", method)]
    subprocess.run([str(word) for word in command], check=True)
    return [json.loads(line) for line in (out / "run/rows.jsonl").read_text(encoding="utf-8").splitlines()]


def outcomes(run: Path, picked: Iterable[Slice]) -> list[dict[str, str]]:
    """What each case is and what the network said."""
    found = []
    for one in picked:
        facts = json.loads((run / "cases" / one.name / "case.json").read_text(encoding="utf-8"))
        found.append({"case": one.name, "label": one.label, "said": facts["prediction"]["words"]})
    return found


def share_table(rows: Sequence[dict[str, Any]], patient_of: dict[str, str]) -> list[dict[str, Any]]:
    """For each method: share of positive relevance inside the mask against the mask's share of the picture."""
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        used = [row for row in rows if row["method"] == method and row["share_in_mask"] is not None]
        share = np.array([row["share_in_mask"] for row in used])
        times = share / np.array([row["mask_share"] for row in used])
        patients = [patient_of[row["case"]] for row in used]
        found.append({
            "method": method,
            "cases": len(used),
            "patients": len(set(patients)),
            "mean_share": float(share.mean()),
            "mean_share_interval": patient_interval(share, patients),
            "median_share": float(np.median(share)),
            "median_share_interval": patient_interval(share, patients, np.median),
            "mean_mask_share": float(np.mean([row["mask_share"] for row in used])),
            "median_times_chance": float(np.median(times)),
            "median_times_chance_interval": patient_interval(times, patients, np.median),
            "cases_above_chance": int((times > 1).sum()),
        })  # fmt: skip
    return found


def markdown(training: dict[str, Any], shares: Sequence[dict[str, Any]]) -> str:
    """Accuracy and shares as a page."""
    low, high = training["test_accuracy_interval"]
    lines = [
        f"Accuracy on {training['test_slices']} test slices of {training['test_patients']} patients: "
        f"{training['test_accuracy']:.3f} ({low:.3f} to {high:.3f}).",
        "",
        "| method | share in the tumour, mean | median | tumour's share of picture | times chance, median | above |",
        "|---|---|---|---|---|---|",
    ]
    for row in shares:
        mean, median, times = (_told(row, name) for name in ("mean_share", "median_share", "median_times_chance"))
        above = f"{row['cases_above_chance']} of {row['cases']}"
        lines.append(f"| `{row['method']}` | {mean} | {median} | {row['mean_mask_share']:.3f} | {times} | {above} |")
    return "\n".join(lines) + "\n"


def _told(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    """Train, explain and sum up; every step that has left its result is skipped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--out", type=Path, required=True, help="where to write")
    parser.add_argument("--retrain", action="store_true", help="train again and explain again")
    chosen = parser.parse_args()
    slices = read_slices(chosen.data / "brain-tumor-2d")
    training = trained(chosen.data, chosen.out, slices, chosen.retrain)
    picked = choose_cases([one for one in slices if one.split == "test"])
    write_cases(chosen.out / "cases.csv", picked)
    rows = explain(chosen.out)
    shares = share_table(rows, {one.name: one.patient for one in picked})
    volumes = volumes_on_anatomy.run(chosen.data, chosen.out / "volumes")
    summary = {"training": training, "cases": outcomes(chosen.out / "run", picked), "shares": shares, **volumes}
    (chosen.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (chosen.out / "summary.md").write_text(markdown(training, shares), encoding="utf-8")
    print(markdown(training, shares))
    print(f"numbers: {chosen.out / 'summary.json'}\npage: {chosen.out / 'run/report/index.html'}")
    print(f"pictures: {chosen.out / 'run/figures'}\nvolumes: {chosen.out / 'volumes'}")


if __name__ == "__main__":
    main()
