"""`standings`: results by strategy; `conclusions`: what they show, in words."""

import pytest

from lightning_clip.studies.comparison.conclusions import conclusions
from lightning_clip.studies.comparison.metrics import metric_names, metric_title
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.comparison.standings import Spread, standings
from tests.reports.studied import grid, result, study


def words(results: list[RunResult]) -> str:
    return " ".join(conclusions(standings(results), metric_names(results)))


def test_a_standing_is_over_the_runs_that_did_not_diverge():
    """It has the median, the smallest and the largest value, and how many runs diverged and when."""
    value = next(row for row in standings(study()) if row.strategy == "value-5.0")
    assert (value.runs, value.diverged, value.diverged_at) == (5, 2, (5, 9))
    assert value.spreads["test_mse"] == Spread(88.0, 31.0, 161.0)
    assert not value.all_diverged


def test_a_row_whose_every_run_diverged_has_no_metric():
    """It is never the best."""
    none = standings(study())[0]
    assert none.all_diverged
    assert none.spreads == {}
    assert none.best == frozenset()


def test_rows_keep_the_order_of_the_results():
    """Rows are in the order of the study, and each setting has its own."""
    assert [row.strategy for row in standings(study())] == ["none", "per-parameter-norm-1.0", "value-5.0", "norm-1.0"]
    assert [(row.group_name, row.strategy) for row in standings(grid())][:3] == [
        ("rnn (length 50)", "a"),
        ("rnn (length 50)", "b"),
        ("rnn (length 200)", "a"),
    ]


def test_the_best_median_is_marked_for_each_model():
    """Each group has its own best row."""
    best = [(row.model, row.strategy) for row in standings(grid()) if "test_mse" in row.best]
    assert best == [("rnn", "a"), ("rnn", "a"), ("lstm", "b"), ("lstm", "b")]


def test_a_strategy_that_diverged_is_not_the_best_where_another_did_not():
    """A low error of the other runs does not make up for a diverged one."""
    rows = standings(
        [result("risky", 0, 1.0), result("risky", 1, None), result("safe", 0, 2.0), result("safe", 1, 2.0)]
    )
    assert [bool(row.best) for row in rows] == [False, True]


def test_a_single_strategy_is_not_called_the_best():
    """There is nothing to compare a single strategy with."""
    assert not standings([result("a", 0, 1.0)])[0].best


def test_a_higher_accuracy_is_better():
    """The direction follows from the name of the metric."""
    runs = [
        RunResult("m", name, 0, False, None, 1, 1.0, 0.0, {"test_accuracy": value})
        for name, value in (("a", 0.7), ("b", 0.9))
    ]
    assert [bool(row.best) for row in standings(runs)] == [False, True]
    assert "The highest median test accuracy is 0.9, by b, ahead of a with 0.7" in words(runs)


def test_a_metric_that_only_describes_a_run_has_no_best():
    """No value of such a metric is marked, and no sentence ranks it."""
    runs = [
        RunResult("m", name, 0, False, None, 1, 1.0, 0.0, {"growth_rate": value})
        for name, value in (("a", -0.5), ("b", 0.1))
    ]
    assert not any(row.best for row in standings(runs))
    assert words(runs) == "No run diverged."


@pytest.mark.parametrize(("name", "title"), [("train_mse", "train MSE"), ("val/r2", "val R2"), ("seconds", "seconds")])
def test_metrics_are_named_in_words(name: str, title: str):
    """Abbreviations are in capitals."""
    assert metric_title(name) == title


def test_divergence_comes_first():
    """The first sentence says which strategies always, sometimes and never diverged, and how soon."""
    assert words(study()).startswith(
        "Every run of none diverged, by step 11 at the latest; 2 of 5 runs of value-5.0 diverged; "
        "no run of per-parameter-norm-1.0 or norm-1.0 did."
    )
    assert words([result("a", 0, 1.0)]).startswith("No run diverged.")
    assert words([result("a", 0, None)]) == "Every run of a diverged, by step 3 at the latest."


def test_ranges_say_whether_the_order_is_settled():
    """Overlapping ranges do not settle the order."""
    close = [result("a", seed, 1.0 + seed) for seed in range(2)] + [result("b", seed, 1.5 + seed) for seed in range(2)]
    apart = [result("a", seed, 1.0 + seed) for seed in range(2)] + [result("b", seed, 9.0 + seed) for seed in range(2)]
    by_seed = " Seed by seed, a is ahead of b with 2 of 2 (p = 0.5 by the signed-rank test)."
    assert words(close).endswith(
        "is 1.5, by a, ahead of b with 2; their ranges overlap, so 2 seeds do not settle the order." + by_seed
    )
    assert words(apart).endswith("ahead of b with 9.5; their ranges over 2 seeds do not overlap." + by_seed)


def test_the_main_metric_is_the_last_of_the_test_data():
    """The training error is not the main metric."""
    runs = [RunResult("m", "a", 0, False, None, 1, 1.0, 0.0, {"test_mse": 2.0, "train_mse": 1.0})]
    assert "median test MSE is 2" in words(runs)


def test_several_models_share_one_sentence():
    """It says which strategy is best where, or everywhere."""
    assert words(grid()).endswith(
        "a has the lowest median test MSE for rnn (length 50) and rnn (length 200), "
        "b for lstm (length 50) and lstm (length 200); "
        "in each case, another range overlaps with the best one, so 2 seeds do not settle the order."
    )
    everywhere = [run for run in grid() if run.model == "rnn"]
    assert "a has the lowest median test MSE everywhere; in each case" in words(everywhere)
    one_seed = [run for run in everywhere if run.seed == 0]
    assert words(one_seed).endswith("test MSE everywhere; one seed does not show whether that is more than chance.")
    apart = [result(n, s, v + s, length=c) for c in (1, 2) for n, v in (("a", 1.0), ("b", 9.0)) for s in range(2)]
    assert words(apart).endswith("test MSE everywhere; over 2 seeds, no other range overlaps with the best one.")


def test_ranges_of_all_others_are_compared_with_that_of_the_first():
    """The sentence names the strategies that are as good, and gives the metric without clipping."""
    scores = {"none": 9.0, "a": 2.0, "b": 1.5, "c": 2.2, "d": 5.0}
    runs = [result(name, seed, value + seed) for name, value in scores.items() for seed in range(2)]
    assert words(runs).endswith(
        "is 2, by b, ahead of a with 2.5; its range, 1.5 to 2.5, overlaps with those of a and c, so 2 seeds do not "
        "settle which is best. Seed by seed, b is ahead of a with 2 of 2 (p = 0.5 by the signed-rank test). "
        "With none it is 9.5 (9 to 10)."
    )
    apart = [run for run in runs if run.strategy in ("b", "d", "none")]
    assert words(apart).endswith(
        "ahead of d with 5.5; its range over 2 seeds overlaps with no other. "
        "Seed by seed, b is ahead of d with 2 of 2 (p = 0.5 by the signed-rank test). With none it is 9.5 (9 to 10)."
    )


def test_the_baseline_is_that_of_the_remaining_runs():
    """A run that diverged has no metric, and the sentence says so."""
    runs = [result(name, seed, value) for name, value in (("a", 1.0), ("b", 2.0)) for seed in range(3)]
    runs += [result("none", 0, 7.0), result("none", 1, 8.0), result("none", 2, None)]
    assert words(runs).endswith("With none it is 7.5 (7 to 8) over the 2 runs that did not diverge.")
    assert words([*runs[:7], result("none", 1, None)]).endswith(
        "With none it is 7 in the only run that did not diverge."
    )


def test_a_small_gradient_is_not_the_best():
    """A metric that only describes a run is never marked."""
    metrics = ({"max_norm": norm, "test_mse": 1.0 + norm} for norm in (1.0, 2.0))
    runs = [RunResult("m", f"s{i}", 0, False, None, 1, 1.0, 0.0, own) for i, own in enumerate(metrics)]
    assert [row.best for row in standings(runs)] == [{"test_mse"}, frozenset()]


def test_many_strategies_are_counted_and_not_listed():
    """A sentence stays readable."""
    runs = [result(f"s{i}", 0, None if i < 6 else 1.0) for i in range(12)]
    assert words(runs).startswith(
        "Every run of s0, s1, s2, s3 and 2 more diverged, by step 3 at the latest; no run of the other 6 did."
    )
