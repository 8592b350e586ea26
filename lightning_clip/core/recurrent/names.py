"""What the name of a recurrent parameter says: its layer, and the path that its gradient comes along."""

import re
from dataclasses import dataclass
from typing import Self

PATHS = ("input-hidden", "hidden-hidden", "projection", "bias")
"""What a recurrent layer's parameters are for; a projection is an LSTM's with `proj_size`."""

_NAME = re.compile(
    r"(?:(?P<module>.+)\.)?(?P<kind>weight|bias)_(?P<path>ih|hh|hr)(?P<suffix>(?:_l\d+)?(?:_reverse)?)(?:_\w+)?(?:\..+)?"
)
_WEIGHTS = {"ih": "input-hidden", "hh": "hidden-hidden", "hr": "projection"}


@dataclass(frozen=True, slots=True)
class LayerName:
    """The name of one recurrent layer in one direction.

    Attributes:
        module: The name of the module that holds it; empty for the root.
        suffix: How the names of its parameters end: `"_l0"`, `"_l1_reverse"`; empty for a cell.
    """

    module: str
    suffix: str

    @property
    def label(self) -> str:
        """As people read it: `encoder l0`, `encoder l1 reverse`, `cell`."""
        return f"{self.module}{self.suffix.replace('_', ' ')}".strip() or "cell"


@dataclass(frozen=True, slots=True)
class RecurrentName:
    """The name of a recurrent parameter, taken apart.

    Attributes:
        layer: Where it is.
        path: What it is for, one of `PATHS`.
    """

    layer: LayerName
    path: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Take the name of a parameter apart.

        Args:
            name: As `torch.nn` names those of recurrent layers and cells, parametrized or not.

        Returns:
            What it says; `None` for a parameter that is not recurrent.

        Example:
            >>> RecurrentName.parse("encoder.weight_hh_l1_reverse")
            RecurrentName(layer=LayerName(module='encoder', suffix='_l1_reverse'), path='hidden-hidden')
            >>> RecurrentName.parse("head.weight") is None
            True
        """
        match = _NAME.fullmatch(name.replace("parametrizations.", ""))
        if match is None:
            return None
        path = _WEIGHTS[match["path"]] if match["kind"] == "weight" else "bias"
        return cls(LayerName(match["module"] or "", match["suffix"]), path)
