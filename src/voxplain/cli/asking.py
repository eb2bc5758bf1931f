"""The options of `voxplain explain`, in the groups its help shows them in."""

import argparse
from pathlib import Path
from typing import Any

from voxplain.errors import OptionError
from voxplain.types import HEADS

MODEL: dict[str, dict[str, Any]] = {
    "--model": {
        "required": True,
        "metavar": "MODEL",
        "help": "package.module:callable(option=value), a name from 'voxplain models', a .pt2, .onnx or .keras file, "
        "a MONAI bundle folder, or a folder of 'voxplain train'",
    },
    "--weights": {"type": Path, "metavar": "FILE", "help": ".safetensors, .npz or .pt with a state dict"},
    "--output": {"metavar": "NAME", "help": "which part of the model's output is meant, such as 0 or logits"},
    "--head": {"choices": HEADS, "default": "auto", "help": "how outputs become probabilities (default: auto)"},
    "--sliding-window": {
        "metavar": "SPEC",
        "help": "how a network of patches reads a whole image, such as 'sliding_window(roi=[96,96,96], overlap=0.5)'",
    },
    "--class-names": {"metavar": "A,B,...", "help": "names of the classes, in order"},
    "--trust": {"action": "append", "default": [], "metavar": "NAME", "help": "run this code or file of others"},
}

IMAGE: dict[str, dict[str, Any]] = {
    "--image": {
        "action": "append",
        "metavar": "[NAME=]FILE",
        "help": "NIfTI, DICOM file or folder, PNG, JPEG, TIFF or .npy; repeat with names for channels",
    },
    "--cases": {
        "type": Path,
        "metavar": "TABLE.csv",
        "help": "many cases: columns image (or one a channel), perhaps id, mask, segments, label, target, slice, "
        "group, split",
    },
    "--mask": {"type": Path, "metavar": "FILE", "help": "region for targets over a mask, and to measure maps against"},
    "--reference": {
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "another image for methods that compare with others, prepared as the image is; repeats "
        "(channels: flair=a.nii.gz,t1=b.nii.gz)",
    },
    "--segments": {
        "type": Path,
        "metavar": "FILE",
        "help": "labelled parts of the image, such as organs, for methods that take it apart by them",
    },
    "--slice": {"type": int, "metavar": "N", "help": "axial slice of a volume, for a model that reads 2D images"},
    "--id": {"metavar": "NAME", "help": "what to call the case (default: a hash of its content)"},
    "--resample-slices": {
        "action": "store_true",
        "help": "put a tilted or unequally spaced DICOM series on a regular grid",
    },
}

QUESTION: dict[str, dict[str, Any]] = {
    "--method": {
        "action": "append",
        "metavar": "METHOD",
        "help": "such as grad_cam or 'occlusion(window=16)'; repeats; 'all' for every one that can explain the case "
        "(default: grad_cam, or occlusion where only calls are allowed)",
    },
    "--target": {
        "action": "append",
        "metavar": "TARGET",
        "help": "such as 'class_score(2)' or 'region(1)'; repeats (default: what the model predicts)",
    },
}

RUN: dict[str, dict[str, Any]] = {
    "--out": {"type": Path, "required": True, "metavar": "DIR", "help": "run folder to write"},
    "--device": {"default": "cpu", "help": "cpu, cuda, cuda:1 ... (default: cpu)"},
    "--seed": {"type": int, "default": 0, "help": "seed of methods that draw at random (default: 0)"},
    "--memory": {"metavar": "SIZE", "help": "memory budget such as 4GB (default: half of what is free)"},
    "--as-is": {
        "action": "store_true",
        "help": "run the network exactly as it is: no batch norm folded, no other order of memory",
    },
    "--precision": {
        "choices": ("full", "bfloat16", "float16"),
        "default": "full",
        "help": "type of weights and activations; below full, what it changes is measured and told (default: full)",
    },
    "--compile": {"action": "store_true", "help": "run passes that need numbers only through torch.compile"},
    "--verify": {"action": "store_true", "help": "make every map twice and say whether the bytes are equal"},
    "--dry-run": {"action": "store_true", "help": "print what the run would ask of the network, and do not run it"},
    "--json": {"action": "store_true", "help": "print the rows (with --dry-run the plan) as one JSON document"},
}


def add(parser: argparse.ArgumentParser, title: str, options: dict[str, dict[str, Any]]) -> None:
    """One group of options."""
    group = parser.add_argument_group(title)
    for flag, settings in options.items():
        group.add_argument(flag, **settings)


def device(name: str) -> str:
    """The device as typed; raises `OptionError` where it has no such name or no computation can be done on it."""
    import torch

    try:
        torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"device must be cpu, cuda or cuda:N, got {name!r}") from error
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:  # a torch built without CUDA asserts
        raise OptionError(f"device {name!r} is not available here; use --device cpu") from error
    return name
