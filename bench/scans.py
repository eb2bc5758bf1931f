"""Peak memory of every gradient and CAM method on a scan of 4 x 240 x 240 x 155 by the 3D U-Net of 26 convolutions.

    python -m bench.scans                              all of them, one process each
    python -m bench.scans --methods gradient lrp       some
    python -m bench.scans --memory 5GB --keep FOLDER   another budget; phantom and results stay

    python -m bench.scans --methods deep_lift --memory 12GB      what asks for more than the budget

Each line is one `voxplain explain` (of `flow` one `voxplain flow`, Grad-CAM at all 26 convolutions) as users type it:
the scan read from its files, padded to 256 x 256 x 160, explained, laid back on its own grid and written. The budget is
at most what a machine of 12 GB offers by itself: 85 % of what is free.
Methods that repeat passes are asked for two or three: memory does not depend on their number, seconds do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.machine import kind_of

LIMIT_GB = 12.0
HEAD = "\n\n| method | peak, GB | seconds |\n|---|---|---|"
FLOW = "flow"
SIZE = (240, 240, 155)
LAYER = "activation_24"
"""The last one before the output, of full size."""

METHODS = (
    "gradient",
    "input_x_gradient",
    "integrated_gradients(steps=2)",
    "blur_ig(steps=2)",
    "guided_ig(steps=3)",
    "smoothgrad(samples=2)",
    "guided_backprop",
    "deconvnet",
    "lrp(composite='epsilon_plus_flat')",
    "lrp(composite='epsilon_alpha2_beta1')",
    "deep_lift",
    "excitation_backprop",
    "full_grad",
    *(
        f"{name}(layer='{LAYER}')"
        for name in (
            "grad_cam",
            "gated_grad_cam",
            "grad_cam_pp",
            "hires_cam",
            "layer_cam",
            "xgrad_cam",
            "eigen_cam",
            "score_cam",
            "ablation_cam",
            "guided_grad_cam",
        )
    ),
    FLOW,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the scan, explain it by every method, print the table; exit code 1 where one needs more than 12 GB."""
    chosen = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        scan = _scan(folder)
        print(f"{kind_of(torch.device('cpu'))}; budget {chosen.memory}{HEAD}", flush=True)
        peaks = [_line(spec, scan, folder, chosen.memory) for spec in chosen.methods or METHODS]
    return int(max(peaks) > LIMIT_GB)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", metavar="SPEC")
    parser.add_argument("--memory", default="9GB", metavar="SIZE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    return parser


def _scan(folder: Path) -> Path:
    """The folder of one phantom, four sequences."""
    done = folder / "scan"
    _voxplain("simulate", f"glioma(size={list(SIZE)})", "--n", "1", "--out", str(done))
    return next(done.rglob("*_flair.nii.gz")).parent


def _line(spec: str, scan: Path, folder: Path, memory: str) -> float:
    """Explain the scan by one method and print the line of the table; the peak in GB."""
    images = [f"{name}={next(scan.glob(f'*_{name}.nii.gz'))}" for name in ("flair", "t1", "t1ce", "t2")]
    begun, (command, method) = time.perf_counter(), ("flow", "grad_cam") if spec == FLOW else ("explain", spec)
    peak = _voxplain(
        command, "--model", "deepseg_unet", "--pad-multiple", "32", "--zscore", "--nonzero", "--memory", memory,
        *(word for image in images for word in ("--image", image)), "--method", method,
        "--target", "region(1, over='whole')", "--out", str(folder / "runs" / str(abs(hash(spec)))),
    )  # fmt: skip
    print(f"| `{spec}` | {peak:.2f} | {time.perf_counter() - begun:.0f} |", flush=True)
    return peak


def _voxplain(*words: str) -> float:
    """Run a command; the largest resident memory of its process in GB."""
    process = subprocess.Popen([sys.executable, "-m", "voxplain", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{json.dumps(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    sys.exit(main())
