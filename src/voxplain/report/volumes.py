"""The interactive images inside the report page: a viewer that boots when it is looked at and loads nothing."""

import base64
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from voxplain.data.writing import json_text
from voxplain.errors import VoxplainError
from voxplain.report.contents import Run
from voxplain.report.viewer_assets import allowed_scripts, asset, index, own_script, packed_niivue, policy
from voxplain.report.viewer_volumes import Shelf

PAGE_BYTES = 30_000_000
"""What all volumes may take in a page, as base64; those beyond are fetched from `voxplain view`."""

LARGEST_INSIDE = 2_200_000
"""Voxels of a volume that still goes into the page: 128 x 128 x 128 and a little."""


@dataclass(frozen=True)
class Block:
    """The viewer's part of a page."""

    markup: Markup
    """A section with its own heading (h2), style, data and script; to be put into the page once."""
    policy: str
    """The page's Content-Security-Policy: it names our scripts by hash, so that no other script runs."""
    left_out: int
    """How many volumes are too large for the page."""


def volumes_block(run: Run, *, page_bytes: int = PAGE_BYTES) -> Block:
    """The interactive images of a run, or an empty block where it has no image to show.

    Voxels are embedded in 8 bits (16 for maps with a far peak) until `page_bytes` are spent, case by case; volumes
    that are larger than `LARGEST_INSIDE` or beyond the budget stay in the run folder, and the viewer says how to see
    them. An element with `data-view="c0-m1"` anywhere in the page becomes a button that shows this map.
    """
    shelf = Shelf(run)
    if not shelf.places:
        return Block(Markup(""), policy("'none'"), 0)
    inside, left = list[str](), page_bytes
    for key in shelf.places:
        element = _embedded(shelf, key, left)
        inside.append(element)
        left -= len(element)
    data = _data("volumes-index", "application/json", _json(index(shelf)))
    parts = (
        f"<style>{asset('viewer.css')}</style>",
        '<section class="volumes" aria-labelledby="volumes"><h2 id="volumes">Interactive images</h2>',
        asset("viewer.html"),
        "</section>",
        data,
        *inside,
        _data("volumes-niivue", "text/plain", packed_niivue()),
        f"<script>{own_script()}</script>",
    )
    # Every part is our own file, base64, or JSON without a single '<'.
    return Block(Markup("\n".join(parts)), policy(allowed_scripts()), inside.count(""))  # noqa: S704


def _embedded(shelf: Shelf, key: str, left: int) -> str:
    """The data element of a volume; empty where it does not fit."""
    try:
        volume = shelf.volume(key)
    except VoxplainError as error:
        return _data(f"volume-{key}", "application/json", _json({"problem": str(error)}))
    if volume.values.size > LARGEST_INSIDE:
        return ""
    facts, packed = volume.packed()
    element = _data(f"volume-{key}", "application/json", _json({**facts, "base64": base64.b64encode(packed).decode()}))
    return element if len(element) <= left else ""


def _data(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>'


def _json(table: Any) -> str:
    """JSON that cannot end its element, whatever names it holds."""
    return json_text(table).replace("<", "\\u003c")
