"""Ensembles of explanations: the maps of a network on a tile, joined by each of the myopathy study's three rules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from voxplain.data.attribution import Attribution
from voxplain.study.fuse import fuse
from voxplain.study.plan import file_name
from voxplain.study.run_folder import RunFolder
from voxplain.study.study_myopathy_maps import informative, maps_of

RULES = ("threshold", "average", "intersection")

BLOCK = 7
"""Side of the blocks in pixels over which every map is averaged first."""

BINARY = "-binary"
"""What is added to a rule's name where only the places that enough maps vote for are kept, as 1."""


def fuse_tiles(run: Path, out: Path, *, threshold: float) -> None:
    """Join each tile's maps by every rule into `<rule>/<true class>/<case>.nii.gz`, and the same with `-binary`.

    An occlusion map without any flip is left out, so that four or five maps are joined.
    """
    facts = RunFolder(run)
    for case, maps in maps_of(run):
        truth = str(facts.facts_of(case).get("label"))
        members = [one for one in maps if informative(one)]
        for rule, binary in product(RULES, (False, True)):
            place = place_of(out, rule, truth, case, binary=binary)
            if not place.exists():
                told = f", threshold={threshold}" if rule == "threshold" else ""
                how = f"fusion(rule={rule!r}, block={BLOCK}, binary={binary}{told})"
                fuse(members, how).save(place)


def place_of(out: Path, rule: str, truth: str, case: str, *, binary: bool = False) -> Path:
    """Where the joined map of a case lies."""
    return out / f"{rule}{BINARY * binary}" / file_name(truth) / f"{file_name(case)}.nii.gz"


def joined_maps(out: Path, rule: str) -> Iterator[tuple[str, Attribution]]:
    """The joined maps of a rule by the name of their file, which is the case's."""
    for place in sorted((out / rule).glob("*/*.nii.gz")):
        name = place.name.removesuffix(".nii.gz")
        if "." not in name:  # the parts of a map lie beside it as <case>.<part>.nii.gz
            yield name, Attribution.load(place)
