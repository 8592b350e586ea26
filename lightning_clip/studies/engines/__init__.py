"""Where the runs of a study are made: processes of this machine, or a backend of joblib."""

from lightning_clip.studies.engines.dask import DaskEngine
from lightning_clip.studies.engines.engine import Engine
from lightning_clip.studies.engines.loky import LokyEngine
from lightning_clip.studies.engines.processes import ProcessEngine
from lightning_clip.studies.engines.ray import RayEngine

__all__ = ["ENGINES", "DaskEngine", "Engine", "LokyEngine", "ProcessEngine", "RayEngine"]

_ALL: list[type[Engine]] = [ProcessEngine, LokyEngine, DaskEngine, RayEngine]

ENGINES = {engine.name: engine for engine in _ALL}
