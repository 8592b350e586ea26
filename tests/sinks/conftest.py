"""The parsers with which a record may be read."""

import json

import pytest


@pytest.fixture(params=["orjson", "json"])
def each_parser(request, monkeypatch):
    """Run a test with orjson, if it is installed, and with the standard library's `json`."""
    if request.param == "json":
        monkeypatch.setattr("lightning_clip.sinks.jsonl_reader.loads", json.loads)
