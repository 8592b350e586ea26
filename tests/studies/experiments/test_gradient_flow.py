"""`GradientFlow`: the gradient through time at the end of a study's report."""

from dataclasses import replace

from lightning_clip.reports import to_text
from lightning_clip.studies import ResultsFolder, Training, load_study, run_study
from lightning_clip.studies.experiments import GradientFlow
from lightning_clip.studies.story import story
from tests.support.studies import result


def test_the_report_ends_with_a_profile_of_each_model(tmp_path):
    """The profiles are in the order of the study, from the records alone, of the first seed."""
    folder = ResultsFolder(tmp_path)
    run_study(replace(load_study("gradient-flow"), seeds=2), folder)
    lines = to_text(story(folder.read(), folder), width=100).splitlines()
    heads = [line.partition(" ─")[0] for line in lines if ", seed 0 ─" in line or ", seed 1 ─" in line]
    assert heads == ["rnn-exploding, seed 0", "rnn-vanishing, seed 0", "lstm, seed 0"]
    assert sum("Gradient through time in recurrent" in line for line in lines) == 3
    verdicts = [line.split()[1].rstrip(",") for line in lines if line.startswith("  Verdict")]
    assert verdicts == ["exploding", "vanishing", "healthy"]


def test_a_run_without_a_record_is_left_out(tmp_path):
    """The report of the experiment needs the records."""
    assert list(GradientFlow().report([result()], ResultsFolder(tmp_path).record_of)) == []


def test_other_experiments_report_nothing(tmp_path):
    """Without this experiment, nothing follows the comparison."""
    assert list(Training().report([result()], ResultsFolder(tmp_path).record_of)) == []
