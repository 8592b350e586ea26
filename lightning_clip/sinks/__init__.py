"""Where records go: files that grow line by line."""

from lightning_clip.sinks.csv import CsvSink
from lightning_clip.sinks.jsonl import JsonlSink, read_jsonl
from lightning_clip.sinks.sink import MeasurementSink, Sink

__all__ = ["CsvSink", "JsonlSink", "MeasurementSink", "Sink", "read_jsonl"]
