"""Pictures and results as a notebook shows them: small self-contained HTML, all text of others escaped."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from intaglio.images.picture_file import readable
from intaglio.printable import printable

if TYPE_CHECKING:  # results are read without torch
    from jaxtyping import Float
    from torch import Tensor

    Picture = Float[Tensor, "3 h w"] | Path

MOST_PICTURES = 24
"""Pictures that a grid shows."""
MOST_ROWS = 12
"""Rows that a table shows."""
LONGEST = 300
"""Characters of the longest text that is shown whole."""
SIDE = 96
"""Pixels of the longer side of a thumbnail."""
FIGURE = '<figure style="display:inline-block;width:104px;margin:4px;vertical-align:top;text-align:center">'
CAPTION = '<figcaption style="font-size:11px;overflow-wrap:anywhere">'
CELL = ' style="text-align:left;padding:2px 12px 2px 0"'


def result_html(
    heading: str,
    figures: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]] = (),
    pictures: "Sequence[tuple[str, Picture]]" = (),
    drawing: str = "",
) -> str:
    """A result as HTML: its figures, at most `MOST_ROWS` rows and `MOST_PICTURES` named pictures.

    A picture is pixels in [0, 1] or a file.

    `drawing` is HTML or SVG of this project's own, shown as it is; everything else is escaped.
    """
    parts = [f"<b>{_escaped(heading)}</b>", drawing, _figures_table(figures), _table(rows), grid_html(pictures)]
    return f"<div>{''.join(part for part in parts if part)}</div>"


def grid_html(pictures: "Sequence[tuple[str, Picture]]") -> str:
    """Thumbnails with their names, at most `MOST_PICTURES`; how many more there are is said. Empty for none."""
    if not pictures:
        return ""
    cells = [
        f'{FIGURE}<img src="{thumbnail(one)}" alt="{_escaped(name)}">{CAPTION}{_escaped(name)}</figcaption></figure>'
        for name, one in islice(pictures, MOST_PICTURES)
    ]
    return f"<div>{''.join(cells)}</div>{_left_out(len(pictures) - MOST_PICTURES)}"


def thumbnail(picture: "Picture") -> str:
    """A picture as a data URI of at most `SIDE` pixels a side; empty where its file is gone or cannot be read."""
    image = readable(picture) if isinstance(picture, Path) else _from_pixels(picture)
    if image is None:
        return ""
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    image.save(stored, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode()}"


def _from_pixels(pixels: "Float[Tensor, '3 h w']") -> Image.Image:
    levels = (pixels.detach().float().clamp(0, 1) * 255).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _figures_table(figures: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><th{CELL}>{_escaped(str(name).replace('_', ' '))}</th><td{CELL}>{_shown(value)}</td></tr>"
        for name, value in figures.items()
        if value is not None
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows under the names of the first one; a column that is empty in all that are shown is left out."""
    shown = list(islice(rows, MOST_ROWS))
    if not shown:
        return ""
    names = [name for name in shown[0] if any(row.get(name) not in (None, "") for row in shown)]
    head = "".join(f"<th{CELL}>{_escaped(str(name).replace('_', ' '))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td{CELL}>{_shown(row.get(name))}</td>' for name in names)}</tr>" for row in shown)
    return f"<table><tr>{head}</tr>{body}</table>{_left_out(len(rows) - MOST_ROWS)}"


def _left_out(count: int) -> str:
    return f"<p>and {count} more</p>" if count > 0 else ""


def _shown(value: object) -> str:
    """A value as escaped text; numbers with four significant digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return _escaped(text if len(text) <= LONGEST else f"{text[:LONGEST]} …")


def _escaped(text: str) -> str:
    return html.escape(printable(text))
