"""What pictures of maps are called in a run folder, for those who draw them and those who remove them."""

from pathlib import PurePath


def figure_name(inside: PurePath) -> str:
    """The picture of a map that lies `inside` the run folder: its place below `maps/` with dashes."""
    name = "-".join(_below_maps(inside))
    return name.removesuffix(".gz").removesuffix(".nii") + ".png"


def sheet_name(inside: PurePath) -> str:
    """The contact sheet that a map `inside` the run folder is on: `<case>-<target>-sheet.png`."""
    folders = _below_maps(inside)[:-1]  # case, model, target; a run has one model
    return "-".join([*folders[:1], *folders[2:], "sheet"]) + ".png"


def _below_maps(inside: PurePath) -> tuple[str, ...]:
    parts = inside.parts
    return parts[1:] if parts[0] == "maps" else parts
