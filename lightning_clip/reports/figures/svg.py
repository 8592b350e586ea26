"""`svg_of`: a figure as an SVG element for a page, as small as it can be without a visible difference."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONG_PATH = re.compile(r' d="[^"]{200,}"')


def svg_of(figure: Figure) -> str:
    """Write a figure as an SVG element.

    Its text is text, which can be searched and needs no outline of each letter; the points of a line are rounded to a
    hundredth of a point.

    Args:
        figure: A matplotlib figure.

    Returns:
        The element, without a declaration and without a date.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    metadata: Any = {"Date": None}
    with rc_context({"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}):
        figure.savefig(file, format="svg", metadata=metadata)
    svg = file.getvalue()
    return _LONG_PATH.sub(_with_two_decimals, svg[svg.index("<svg") :])


def _with_two_decimals(path: re.Match[str]) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda own: f"{float(own[0]):.2f}", path[0])
