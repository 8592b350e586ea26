"""Sinks: files that step records, events and measurements are written to during training."""

from lightning_clip.sinks.csv import CsvSink
from lightning_clip.sinks.jsonl import JsonlSink, read_jsonl
from lightning_clip.sinks.sink import MeasurementSink, Sink

__all__ = ["CsvSink", "JsonlSink", "MeasurementSink", "Sink", "read_jsonl"]
