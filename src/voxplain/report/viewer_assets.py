"""The viewer's own files: page, style, script and the NiiVue bundle, with what a browser may run of them."""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.colors import Colormap

from voxplain.report.contents import CaseEntry, MapEntry
from voxplain.report.palettes import PALETTES
from voxplain.report.viewer_volumes import Shelf

NODES = 33
"""Colours by which a palette travels; the viewer fills in between."""

SCRIPTS = ("niivue.js", "scene.js", "words.js", "legend.js", "source.js", "keys.js", "viewer.js")
"""In the order in which a browser must run them."""


@cache
def asset(name: str) -> str:
    """The text of one of the viewer's files."""
    return files("voxplain.report").joinpath("viewer", name).read_text(encoding="utf-8")


@cache
def own_script() -> str:
    """The viewer's script without NiiVue, as it stands inside a page."""
    return "".join(asset(name) for name in SCRIPTS[1:])


@cache
def packed_niivue() -> str:
    """The NiiVue bundle as base64 of gzip: a third of its size, and nothing to parse before it is wanted."""
    return base64.b64encode(gzip.compress(asset("niivue.js").encode(), 9, mtime=0)).decode("ascii")


@cache
def allowed_scripts() -> str:
    """The `script-src` of a page with the viewer inside: these scripts by their hash, and no others."""
    digests = (hashlib.sha256(text.encode()).digest() for text in (own_script(), asset("niivue.js")))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)


def policy(scripts: str) -> str:
    """A content security policy for the viewer: nothing from elsewhere, and of scripts only the named."""
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self' data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


def index(shelf: Shelf) -> dict[str, Any]:
    """What the viewer lets one choose from: cases, channels, targets, methods, layers and colours; no voxels."""
    run = shelf.run
    return {
        "run": run.folder.resolve().name,
        "cases": [_case(shelf, place, case) for place, case in enumerate(run.cases)],
        "palettes": {
            name: {"signed": one.signed, "words": one.source, **_colours(one.colours, one.signed)}
            for name, one in PALETTES.items()
        },
    }


def _case(shelf: Shelf, place: int, case: CaseEntry) -> dict[str, Any]:
    prediction = case.facts.get("prediction")
    says = prediction.get("words") if isinstance(prediction, Mapping) else None
    image = shelf.images[place]
    return {
        "name": case.identifier or "case without a name",
        "says": str(says or ""),
        "label": str(case.facts.get("label") or ""),
        "problem": "" if image is not None else "Neither the image of this case nor a map can be shown.",
        "images": [] if image is None else [_channel(place, n, name) for n, name in enumerate(image.channels)],
        **{name: key if (key := f"c{place}-{name}") in shelf.places else "" for name in ("mask", "prediction")},
        "maps": [_map(shelf, place, n, entry) for n, entry in enumerate(case.maps) if not entry.refused],
    }


def _channel(place: int, number: int, name: str) -> dict[str, str]:
    return {"key": f"c{place}-i{number}", "channel": name}


def _map(shelf: Shelf, place: int, number: int, entry: MapEntry) -> dict[str, str]:
    key = f"c{place}-m{number}"
    layer = entry.text("layer")
    return {
        "key": key if key in shelf.places else "",
        "problem": entry.problem,
        "method": without_layer(entry.text("method") or "all methods", layer),
        "layer": layer,
        "target": entry.text("target"),
        "model": entry.text("model"),
    }


def without_layer(method: str, layer: str) -> str:
    """A method's spec without the option that names its layer, so that maps of many layers are one method."""
    if not layer:
        return method
    option = rf"layer={re.escape(repr(layer))}"
    return re.sub(rf"\({option}\)|{option}, |, {option}", "", method)


def _colours(colours: Colormap, signed: bool) -> dict[str, list[list[int]]]:
    """Colours from 0 to the strongest value, for both signs where the palette has two sides."""
    strength = np.linspace(0, 1, NODES)
    sides = {"positive": (1 + strength) / 2, "negative": (1 - strength) / 2} if signed else {"positive": strength}
    return {name: np.rint(colours(side)[:, :3] * 255).astype(int).tolist() for name, side in sides.items()}
