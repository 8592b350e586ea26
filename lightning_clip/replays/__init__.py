"""A captured bad step taken again: which sample, time step, layer and gate it came from, and what would have helped."""

from lightning_clip.replays.capture import Capture, load_capture
from lightning_clip.replays.replay import Replay, replay

__all__ = ["Capture", "Replay", "load_capture", "replay"]
