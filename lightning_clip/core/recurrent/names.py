"""`RecurrentName`: parses the name of a recurrent parameter into its layer and its role."""

import re
from dataclasses import dataclass
from typing import Self

PATHS = ("input-hidden", "hidden-hidden", "projection", "bias")
"""The roles of a recurrent layer's parameters; only an LSTM with `proj_size` has a projection."""

_NAME = re.compile(
    r"(?:(?P<module>.+)\.)?(?P<kind>weight|bias)_(?P<path>ih|hh|hr)(?P<suffix>(?:_l\d+)?(?:_reverse)?)(?:_\w+)?(?:\..+)?"
)
_WEIGHTS = {"ih": "input-hidden", "hh": "hidden-hidden", "hr": "projection"}


@dataclass(frozen=True, slots=True)
class LayerName:
    """The name of one depth of a recurrent layer in one direction.

    Attributes:
        module: The name of the module; empty for the root.
        suffix: The suffix of its parameter names, such as `"_l0"` or `"_l1_reverse"`; empty for a cell.
    """

    module: str
    suffix: str

    @property
    def label(self) -> str:
        """The name for people to read, such as `encoder l0`, `encoder l1 reverse` or `cell`."""
        return f"{self.module}{self.suffix.replace('_', ' ')}".strip() or "cell"


@dataclass(frozen=True, slots=True)
class RecurrentName:
    """The parsed name of a recurrent parameter.

    Attributes:
        layer: The layer that the parameter belongs to.
        path: The role of the parameter, one of `PATHS`.
    """

    layer: LayerName
    path: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Parse the name of a parameter.

        Args:
            name: A parameter name in the convention of `torch.nn`'s recurrent layers and cells, parametrized or not.

        Returns:
            The parsed name; `None` if the parameter is not recurrent.

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
