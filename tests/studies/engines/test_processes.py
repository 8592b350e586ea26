"""`ProcessEngine` and `LokyEngine`: the number of runs at a time on this machine."""

import pytest

from lightning_clip.studies.engines import LokyEngine, ProcessEngine


@pytest.mark.parametrize("engine", [ProcessEngine(), LokyEngine()], ids=lambda engine: engine.name)
def test_there_are_no_more_jobs_than_runs(monkeypatch, engine):
    """There is one process per core, but never more than runs."""
    monkeypatch.setattr("lightning_clip.studies.engines.engine.cpu_count", lambda: 3)
    for jobs, cells, places in [(None, 4, 3), (None, 2, 2), (2, 4, 2), (100, 4, 4), (None, 0, 1)]:
        with engine.started(jobs, cells) as found:
            assert found == places
