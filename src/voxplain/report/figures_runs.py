"""A case of a run folder as the studies' figures take it: image, predicted mask, facts, and its maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import FileError, InputError, shortened
from voxplain.report.contents import CaseEntry, MapEntry, Run, Table, listing, mapping, read_run


@dataclass(frozen=True, eq=False)
class CaseMaps:
    """One case with the maps that were made of it, in the run's order."""

    identifier: str
    image: Image
    mask: Any
    """(i, j, k), what is inside the given mask; None without one."""
    prediction: Any
    """(i, j, k), the predicted class of each voxel; None for a model that does not segment."""
    facts: Table
    maps: tuple[Attribution, ...]
    layers: tuple[str, ...]
    """The layer each map was read from, '' for methods that have none."""

    @property
    def probabilities(self) -> dict[str, float]:
        """What the model said, by class name; empty where it gave no probabilities."""
        said = mapping(self.facts.get("prediction"))
        names, values = listing(said.get("class_names")), listing(said.get("probabilities"))
        named = names if len(names) == len(values) else [f"class {place}" for place in range(len(values))]
        return {str(name): float(value) for name, value in zip(named, values, strict=True)}

    @property
    def predicted(self) -> str:
        """The predicted class in words, '' where there is none."""
        said = mapping(self.facts.get("prediction"))
        place, names = said.get("predicted"), listing(said.get("class_names"))
        if not isinstance(place, int):
            return ""
        return str(names[place]) if 0 <= place < len(names) else f"class {place}"

    @property
    def truth(self) -> str:
        """The case's own label, '' where it has none."""
        return str(self.facts.get("label") or "")

    def of_method(self, name: str) -> tuple[Attribution, ...]:
        """The maps of a method, whatever its options; raises InputError where the run has none."""
        found = tuple(one for one in self.maps if method_name(one) == name)
        if not found:
            raise _no_map(self.identifier, name, [method_name(one) for one in self.maps])
        return found

    def title(self, one: Attribution) -> str:
        """The heading of a figure of one of the maps: case and target, and below them the method."""
        return f"{self.identifier}: {one.target_words or one.target}\n{one.method}"


def method_name(attribution: Attribution) -> str:
    """A method's name without its options."""
    return attribution.method.partition("(")[0]


def _no_map(case: str, method: str, there: Sequence[str]) -> InputError:
    known = shortened(dict.fromkeys(there)) or "none"
    return InputError(f"case {case!r} must have a map of {method!r}, the run has {known}")


def case_maps(
    folder: Path | Run, case: str | None = None, *, target: str | None = None, method: str | None = None
) -> CaseMaps:
    """A case of a run folder (the first one that has maps where none is named), with the maps of one target.

    Without `target` the maps are those of the case's first; with `method`, its name, no others are read. A run that
    was read already serves many cases. Raises FileError where the folder, the image or all maps are missing,
    InputError for a case, target or method that is not in it.
    """
    run = folder if isinstance(folder, Run) else read_run(folder)
    entry = _entry(run, case)
    if entry.image is None:
        raise FileError(f"case {entry.identifier!r} has no image in the run folder {run.folder.name!r}")
    rows = _rows(entry, target)
    chosen = [row for row in rows if method is None or _method_of(row) == method]
    if not chosen:
        raise _no_map(entry.identifier, str(method), [_method_of(row) for row in rows])
    return CaseMaps(
        entry.identifier,
        entry.image,
        None if entry.mask is None else (entry.mask.values != 0).any(axis=0),
        _labels(entry),
        entry.facts,
        tuple(row.load(entry.image) for row in chosen),
        tuple(row.text("layer") for row in chosen),
    )


def first_method(folder: Path, case: str | None = None, *, with_error: bool = False) -> str:
    """The name of the method of a case's first map, or of its first one with a standard error where there is any."""
    rows = _rows(_entry(read_run(folder), case), None)
    measured = [row for row in rows if with_error and _has_error(row)]
    return _method_of([*measured, *rows][0])


def _has_error(row: MapEntry) -> bool:
    return row.path is not None and row.path.with_name(row.path.name.replace(".nii", ".stderr.nii")).is_file()


def _method_of(row: MapEntry) -> str:
    return row.text("method").partition("(")[0]


def case_names(run: Run) -> tuple[str, ...]:
    """The cases of a run that have an image and a map, in the run's order."""
    return tuple(case.identifier for case in run.cases if _drawable(case))


def _drawable(case: CaseEntry) -> bool:
    return case.image is not None and any(row.path is not None for row in case.maps)


def _entry(run: Run, case: str | None) -> CaseEntry:
    if case is None:
        found = [entry for entry in run.cases if _drawable(entry)]
        if not found:
            raise FileError(f"run folder {run.folder.name!r} must hold a case with an image and a map, got none")
        return found[0]
    for entry in run.cases:
        if entry.identifier == case:
            return entry
    known = shortened(entry.identifier for entry in run.cases)
    raise InputError(f"run folder {run.folder.name!r} has no case {case!r}; it has {known or 'none'}")


def _rows(entry: CaseEntry, target: str | None) -> list[MapEntry]:
    """The maps of a case and a target, of its first one where none is named."""
    rows = [row for row in entry.maps if row.path is not None]
    known = list(dict.fromkeys(row.text("target") for row in rows))
    if not known:
        raise FileError(f"case {entry.identifier!r} must have a map in the run folder, got none")
    if target is not None and target not in known:
        raise InputError(f"case {entry.identifier!r} has no maps of target {target!r}; it has {shortened(known)}")
    return [row for row in rows if row.text("target") == (target or known[0])]


def _labels(entry: CaseEntry) -> Any:
    if entry.labels is None or entry.image is None or not entry.labels.grid.same_as(entry.image.grid):
        return None
    return np.rint(entry.labels.values[0]).astype(np.int64)
