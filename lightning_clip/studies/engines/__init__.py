"""Where the runs of a study execute: in processes on this machine, or on a cluster by way of joblib."""

from lightning_clip.studies.engines.dask import DaskEngine
from lightning_clip.studies.engines.engine import Engine
from lightning_clip.studies.engines.processes import LokyEngine, ProcessEngine
from lightning_clip.studies.engines.ray import RayEngine

__all__ = ["ENGINES", "DaskEngine", "Engine", "LokyEngine", "ProcessEngine", "RayEngine"]

_ALL: list[type[Engine]] = [ProcessEngine, LokyEngine, DaskEngine, RayEngine]

ENGINES = {engine.name: engine for engine in _ALL}
