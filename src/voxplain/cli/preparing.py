"""The preparation's flags on the command line; each is one field of `Prepare`."""

import argparse
import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxplain.errors import OptionError

if TYPE_CHECKING:
    from voxplain.data.prepare import Prepare

FLAGS = {
    "orientation": ("CODE", "turn a volume's axes, such as RAS"),
    "spacing-mm": ("A,B,C", "resample to this voxel size"),
    "size": ("A,B[,C]", "resize to this many voxels (2D: rows,columns)"),
    "crop-pad": ("A,B[,C]", "crop or pad around the centre to this many voxels"),
    "pad-multiple": ("N", "pad each side to a multiple of this"),
    "pad-value": ("VALUE", "what padding holds, before mean and std (default: 0)"),
    "channels": ("A,B,...", "channels to use, in this order"),
    "window": ("LOW,HIGH", "cut intensities to this range and scale it to 0..1"),
    "percentile": ("LOW,HIGH", "as --window, with percentiles of the image"),
    "zscore": ("", "scale to mean 0 and standard deviation 1"),
    "nonzero": ("", "with --zscore or --percentile: over nonzero voxels only"),
    "scale": ("FACTOR", "multiply intensities"),
    "grey-to-rgb": ("", "repeat one channel three times"),
    "mean": ("A,B,C", "subtract from each channel, last"),
    "std": ("A,B,C", "divide each channel by, last"),
    "masked": ("", "set to 0 what lies outside the --mask, after everything else"),
}
"""Flag -> metavar and help; no metavar: a switch."""

EXAMPLES = {
    "spacing_mm": "1,1,1.5",
    "size": "96,96,64",
    "crop_pad": "96,96,64",
    "pad_multiple": "16",
    "pad_value": "-1",
    "window": "-160,240",
    "percentile": "1,99",
    "scale": "0.001",
    "mean": "0.5",
    "std": "0.25",
}
"""What a flag of numbers may be given, for errors."""


def add(group: argparse._ArgumentGroup) -> None:
    """The flags."""
    group.add_argument("--prepare", type=Path, metavar="FILE.toml", help="preparation as a TOML file")
    for flag, (metavar, line) in FLAGS.items():
        if metavar:
            group.add_argument(f"--{flag}", metavar=metavar, help=line)
        else:
            group.add_argument(f"--{flag}", action="store_true", default=None, help=line)


def read(chosen: argparse.Namespace, model: str = "") -> "Prepare":
    """The preparation of the file, else the one that the model brings, with the flags that were given on top."""
    from dataclasses import replace

    from voxplain.data.prepare import Prepare
    from voxplain.score.shipped import model_folder

    brought = model_folder(model) / "prepare.toml"
    file = chosen.prepare or (brought if model and brought.is_file() else None)
    base = Prepare.read(file) if file else Prepare(**_planned(Path(model)) if model else {})
    given = {flag.replace("-", "_"): getattr(chosen, flag.replace("-", "_")) for flag in FLAGS}
    return replace(base, **{name: _value(name, raw) for name, raw in given.items() if raw is not None})


def _planned(folder: Path) -> dict[str, Any]:
    """What the plans of an nnU-Net folder say; nothing for any other model."""
    if not (folder / "plans.json").is_file():
        return {}
    from voxplain.score.nnunet import is_nnunet, planned_preparation

    return planned_preparation(folder)[0] if is_nnunet(folder) else {}


def _value(name: str, raw: Any) -> Any:
    if raw is True or name == "orientation":
        return raw
    if name == "channels":
        return tuple(part.strip() for part in raw.split(","))
    try:
        value = ast.literal_eval(raw)
    except (ValueError, SyntaxError):
        value = None
    single = name in ("scale", "pad_multiple", "pad_value")
    listed = value if isinstance(value, tuple) else (value,)
    if not all(type(one) in (int, float) for one in listed) or (single and listed != (value,)):
        wanted = "a number" if single else "numbers joined by commas, without brackets"
        flag = f"--{name.replace('_', '-')}"
        raise OptionError(f"{flag} must be {wanted}, got {raw!r}; type for example {flag} {EXAMPLES[name]}")
    return value if single else listed
