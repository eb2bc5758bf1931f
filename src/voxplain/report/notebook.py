"""What a notebook shows of a map: its picture, what it means, its raw range, and the checks that failed."""

import base64
from html import escape

from voxplain.data.attribution import Attribution
from voxplain.report import figures


def attribution_html(attribution: Attribution) -> str:
    """One self-contained figure element; a map without its image has words alone."""
    picture = ""
    if attribution.image is not None:
        data = base64.b64encode(figures.png(attribution.plot())).decode("ascii")
        told = escape(f"{attribution.method}: {attribution.target_words or attribution.target}", quote=True)
        picture = f'<img src="data:image/png;base64,{data}" alt="{told}" style="max-width:100%">'
    return f"<figure>{picture}<figcaption>{_caption(attribution)}</figcaption></figure>"


def _caption(one: Attribution) -> str:
    low, high = float(one.values.min()), float(one.values.max())
    words = [
        f"<b>{escape(one.method)}</b> of {escape(one.target_words or one.target)}",
        f"{escape(one.quantity.value)}, raw range {low:.3g} to {high:.3g} {escape(one.unit)}".rstrip(),
        *(f"<b>Check failed:</b> {escape(check.sentence)}" for check in one.certificate.failures),
    ]
    return "<br>".join(words)
