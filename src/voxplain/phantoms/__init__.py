"""Made-up images with a known cause: what a correct explanation must find is written down while they are made."""

from importlib.metadata import entry_points

from voxplain.face import answer_calls
from voxplain.phantoms.base import Sample, Simulation
from voxplain.phantoms.chest import Chest
from voxplain.phantoms.glioma import Glioma
from voxplain.phantoms.lesion import CLASS_NAMES, Phantom, lesion_slices, lesion_volumes
from voxplain.phantoms.muscle import Muscle
from voxplain.phantoms.plant import Plant
from voxplain.phantoms.pumpkins import Pumpkins
from voxplain.phantoms.signals import Signals
from voxplain.phantoms.tumours import Tumours
from voxplain.spec import Spec, build

PHANTOMS: dict[str, type[Simulation]] = {
    "pumpkins": Pumpkins,
    "glioma": Glioma,
    "tumours": Tumours,
    "muscle": Muscle,
    "chest": Chest,
    "signals": Signals,
    "plant": Plant,
}
"""Every simulation of the package by name."""

GROUP = "voxplain.phantoms"
"""Entry-point group under which other packages join the table."""


def table() -> dict[str, type[Simulation]]:
    """The package's simulations and those that installed packages add; a name already taken stays ours."""
    joined = {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return {**joined, **PHANTOMS}


def phantom(source: str | Spec | Simulation) -> Simulation:
    """The simulation a spec such as `pumpkins(growth_mode='eternal')` stands for."""
    built: Simulation = build(source, table(), "phantom")
    return built


__all__ = [
    "CLASS_NAMES",
    "PHANTOMS",
    "Phantom",
    "Sample",
    "Simulation",
    "lesion_slices",
    "lesion_volumes",
    "phantom",
    "table",
]

answer_calls(__name__, "table")
