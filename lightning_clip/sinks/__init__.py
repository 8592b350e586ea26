"""Sinks: where step records, events and measurements go during training: files, functions, web addresses."""

from lightning_clip.sinks.alerts import AlertSink
from lightning_clip.sinks.csv import CsvSink
from lightning_clip.sinks.jsonl import JsonlSink, read_jsonl
from lightning_clip.sinks.sink import MeasurementSink, Sink
from lightning_clip.sinks.webhook import WebhookSink

__all__ = ["AlertSink", "CsvSink", "JsonlSink", "MeasurementSink", "Sink", "WebhookSink", "read_jsonl"]
