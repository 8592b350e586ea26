"""When to change the clipping strategy during a run: a detector of bad steps, and a ladder that climbs and descends."""

from lightning_clip.core.switching.detector import Reading, SpikeDetector
from lightning_clip.core.switching.ladder import Ladder, Move

__all__ = ["Ladder", "Move", "Reading", "SpikeDetector"]
