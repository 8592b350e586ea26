"""`CsvSink`: one row per step."""

import csv
import math
from pathlib import Path

import pytest

from lightning_clip.core import Event, Measurement, RunInfo
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.sinks import CsvSink, Sink
from tests.support.recorded import record

HEADER = "step,optimizer,strategy,norm_before,norm_after,threshold,clip_coef,clipped,finite,skipped,loss"
HEADER += ",epoch,first_batch,batch,learning_rate,top_param,top_share"


def write(path: Path, *norms: float, start: int = 0) -> None:
    sink = CsvSink(path)
    sink.open(RunInfo(start_step=start))
    sink.write([record(step, norm, max_norm=1.0, loss=0.5) for step, norm in enumerate(norms, start)])
    sink.event(Event(0, "stop", "stopped"))
    sink.measurement(Measurement(0, "flow", {"norms": [1.0]}))
    sink.close(RunInfo(), ParameterTotals())


def test_there_is_one_row_per_step_under_a_header(tmp_path: Path):
    """Rows have the fields of the records in order, and a missing folder is created."""
    path = tmp_path / "deep" / "run.csv"
    write(path, 4.0, 0.5)
    assert path.read_text().splitlines() == [
        HEADER,
        "0,0,NormClip(1.0),4.0,1.0,1.0,0.25,True,True,False,0.5,,,,,,",
        "1,0,NormClip(1.0),0.5,0.5,1.0,1.0,False,True,False,0.5,,,,,,",
    ]


def test_non_finite_numbers_can_be_read_back(tmp_path: Path):
    """NaN and infinity are written as `nan` and `inf`, which parsers of floats accept."""
    write(tmp_path / "run.csv", math.nan, math.inf)
    rows = list(csv.DictReader((tmp_path / "run.csv").read_text().splitlines()))
    assert math.isnan(float(rows[0]["norm_before"]))
    assert float(rows[1]["norm_before"]) == math.inf


def test_a_resumed_run_appends_without_a_second_header(tmp_path: Path):
    """New rows follow the old ones, and an incomplete last row is removed."""
    path = tmp_path / "run.csv"
    write(path, 4.0, 0.5)
    path.write_text(path.read_text() + "2,0,Norm")
    write(path, 3.0, start=2)
    lines = path.read_text().splitlines()
    assert lines.count(HEADER) == 1
    assert [line[0] for line in lines[1:]] == ["0", "1", "2"]


def test_an_incomplete_header_is_written_again(tmp_path: Path):
    """After a crash in the first line the file starts again."""
    path = tmp_path / "run.csv"
    path.write_text(HEADER[:20])
    write(path, 3.0)
    assert path.read_text().splitlines()[0] == HEADER


def test_another_file_is_not_touched(tmp_path: Path):
    """The error names the expected header and the remedy, and the file is unchanged."""
    path = tmp_path / "run.csv"
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match=r"run.csv: line 1: expected the header step,.*give CsvSink a new file"):
        CsvSink(path).open(RunInfo())
    assert path.read_text() == "epoch,loss\n1,2\n"


def test_writing_before_opening_is_rejected(tmp_path: Path):
    """The error says what to call first."""
    with pytest.raises(ValueError, match=r"CsvSink\(.*is not open: call open\(run\) first"):
        CsvSink(tmp_path / "run.csv").write([record(0, 1.0)])


def test_it_is_a_sink(tmp_path: Path):
    """It has the four methods that callbacks need."""
    assert isinstance(CsvSink(tmp_path / "run.csv"), Sink)
