"""Write pictures, but leave one alone that would look the same: the last bits of a run differ between machines."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

DOTS_PER_INCH = 110
UNSEEN_SHADE = 0.05
"""Of the range of a color."""
UNSEEN_SHIFT = 0.005
"""In points."""
_DECIMAL = re.compile(r"-?\d+\.\d+")


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure without a date, unless the file already shows it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    if not (path.exists() and _same_pixels(buffer, path)):
        path.write_bytes(buffer.getvalue())


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure without a date, unless the file already shows it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    if not (path.exists() and _same_shapes(buffer.getvalue().decode(), path.read_text(encoding="utf-8"))):
        path.write_bytes(buffer.getvalue())


def _same_pixels(buffer: BytesIO, path: Path) -> bool:
    buffer.seek(0)
    new, old = imread(buffer, format="png"), imread(path)
    return new.shape == old.shape and bool(np.abs(new - old).max() <= UNSEEN_SHADE)


def _same_shapes(new: str, old: str) -> bool:
    """Whether two files differ in nothing but the last digits of coordinates."""
    if _DECIMAL.sub("", new) != _DECIMAL.sub("", old):
        return False
    pairs = zip(_DECIMAL.findall(new), _DECIMAL.findall(old), strict=True)
    return all(abs(float(one) - float(other)) < UNSEEN_SHIFT for one, other in pairs)
