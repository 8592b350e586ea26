"""`flow_reports`: the gradient through time at the end of a study's report."""

from dataclasses import replace

from rich.console import Group

from lightning_clip.reports import to_text
from lightning_clip.studies import ResultsFolder, load_study, run_study
from lightning_clip.studies.flow_reports import flow_reports
from lightning_clip.studies.story import story
from tests.support.studies import result


def test_the_report_ends_with_a_profile_of_each_model(tmp_path):
    """In the order of the study, from the records alone, of the first seed."""
    folder = ResultsFolder(tmp_path)
    results = run_study(replace(load_study("gradient-flow"), seeds=2), folder)
    lines = to_text(story("gradient-flow", results, folder), width=100).splitlines()
    heads = [line.partition(" ─")[0] for line in lines if ", seed 0 ─" in line or ", seed 1 ─" in line]
    assert heads == ["rnn-exploding, seed 0", "rnn-vanishing, seed 0", "lstm, seed 0"]
    assert sum("Gradient through time in recurrent" in line for line in lines) == 3
    verdicts = [line.split()[1].rstrip(",") for line in lines if line.startswith("  Verdict")]
    assert verdicts == ["exploding", "vanishing", "healthy"]


def test_other_studies_have_none(tmp_path):
    """Without growth rates among the metrics nothing is read or shown."""
    assert to_text(Group(*flow_reports([result()], ResultsFolder(tmp_path))), width=80).strip() == ""
