"""What adaptive strategies remember, in buffers: windows, moving averages, one number a parameter, one an element."""

from lightning_clip.core.state.ema import Ema
from lightning_clip.core.state.per_element import PerElement
from lightning_clip.core.state.per_parameter import PerParameter
from lightning_clip.core.state.policy import HistoryPolicy, to_store
from lightning_clip.core.state.state import State
from lightning_clip.core.state.window import Window

__all__ = ["Ema", "HistoryPolicy", "PerElement", "PerParameter", "State", "Window", "to_store"]
