"""An attribution on disk: NIfTI maps and a JSON file beside them that tells the story."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution, Coarse
from voxplain.data.certificate import Certificate
from voxplain.data.nifti import read_nifti, write_nifti
from voxplain.data.provenance import Provenance
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError
from voxplain.types import Quantity

SUFFIXES = (".nii.gz", ".nii")


def save(attribution: Attribution, path: Path) -> Path:
    """Write the map to `path`, its extras beside it, and last the JSON sidecar; returns `path`."""
    stem = _stem(path)
    files: dict[str, str] = {}
    extras = {"stderr": attribution.standard_error, **attribution.parts}
    for name, values in extras.items():
        if values is not None:
            files[name] = f"{stem.name}.{name}.nii.gz"
            write_nifti(stem.with_name(files[name]), values, attribution.grid)
    if attribution.coarse is not None:
        files["coarse"] = f"{stem.name}.coarse.nii.gz"
        write_nifti(stem.with_name(files["coarse"]), attribution.coarse.values, attribution.coarse.grid)
    write_nifti(path, attribution.values, attribution.grid)
    with written_beside(stem.with_name(f"{stem.name}.json")) as beside:
        told = {**table(attribution), "files": files}
        beside.write_text(json_text(dict(sorted(told.items())), indent=1) + "\n")
    return path


def remove(path: Path) -> None:
    """Delete the map at `path`, its sidecar and the files the sidecar names; what is not there is gone already."""
    stem = _stem(path)
    sidecar = stem.with_name(f"{stem.name}.json")
    try:
        extras = [str(name) for name in dict(_read_json(sidecar).get("files", {})).values()]
    except (FileError, TypeError, ValueError, AttributeError):  # a broken sidecar names nothing
        extras = []
    # Only names that begin as the map's does: a sidecar edited by hand must not delete what is not the map's.
    own = [stem.with_name(name) for name in extras if name.startswith(f"{stem.name}.") and Path(name).name == name]
    for file in (*own, sidecar, path):
        file.unlink(missing_ok=True)


def load(path: Path) -> Attribution:
    """Read back the map at `path` with its sidecar; raises `FileError` where the sidecar is missing or broken."""
    stem = _stem(path)
    told = _read_json(stem.with_name(f"{stem.name}.json"))
    try:
        return _attribution(path, told)
    except KeyError as error:
        raise FileError(f"the sidecar '{stem.name}.json' has no entry {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise FileError(
            f"the sidecar '{stem.name}.json' must be one that save() wrote, got another: {error}"
        ) from error


def _attribution(path: Path, told: Mapping[str, Any]) -> Attribution:
    """The map at `path` with the story that its sidecar tells."""
    files = dict(told.get("files", {}))
    image, unit = read_nifti(path), told.get("grid_unit", "mm")  # NIfTI has no word for pixels without a size
    coarse_name, error_name = files.pop("coarse", None), files.pop("stderr", None)
    coarse = None if coarse_name is None else read_nifti(path.with_name(coarse_name))
    return Attribution(
        values=image.values,
        grid=replace(image.grid, unit=unit),
        quantity=Quantity(told["quantity"]),
        **{name: told[name] for name in ("method", "target", "target_words", "unit", "layer", "evidence", "numbers")},
        channels=tuple(told["channels"]),
        notes=tuple(told["notes"]),
        standard_error=None if error_name is None else read_nifti(path.with_name(error_name)).values,
        coarse=None if coarse is None else Coarse(coarse.values, replace(coarse.grid, unit=unit)),
        parts={name: read_nifti(path.with_name(file)).values for name, file in files.items()},
        certificate=Certificate.from_table(told["certificate"]),
        provenance=Provenance.from_table(told["provenance"]),
    )


def table(attribution: Attribution) -> dict[str, Any]:
    """Everything about an attribution but its voxels, as plain JSON values."""
    values = attribution.values
    return {
        "method": attribution.method,
        "target": attribution.target,
        "target_words": attribution.target_words,
        "quantity": str(attribution.quantity),
        "unit": attribution.unit,
        "grid_unit": attribution.grid.unit,
        "channels": list(attribution.channels),
        "layer": attribution.layer,
        "evidence": attribution.evidence,
        "notes": list(attribution.notes),
        "numbers": dict(attribution.numbers),
        "range": [float(values.min()), float(values.max())],
        "sum": float(values.sum(dtype="float64")),
        "certificate": attribution.certificate.to_table(),
        "provenance": attribution.provenance.to_table(),
    }


def _stem(path: Path) -> Path:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix))
    raise InputError(f"an attribution is saved as .nii or .nii.gz, got {path.name!r}")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        told: Mapping[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise FileError(f"the map has no readable sidecar {path.name!r}") from error
    except ValueError as error:
        raise FileError(f"the sidecar {path.name!r} must be JSON, got {error}") from error
    return told
