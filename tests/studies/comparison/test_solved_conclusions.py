"""Studies with a task to solve: counts, conclusions and tables."""

from dataclasses import replace
from math import comb

import pytest

from lightning_clip.reports import to_text
from lightning_clip.studies.comparison import render_comparison
from lightning_clip.studies.comparison.conclusions import conclusions
from lightning_clip.studies.comparison.metrics import metric_names
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.comparison.solved_conclusions import chance_limit
from lightning_clip.studies.comparison.standings import Spread, standings
from tests.reports.studied import lengths, rates, result, solving, tasks


def words(results: list[RunResult]) -> str:
    return " ".join(conclusions(standings(results), metric_names(results)))


def counts(
    strategy: str, *solved: int, runs: int = 5, axis: str = "", values: tuple[float, ...] = ()
) -> list[RunResult]:
    """The runs of a strategy with so many solved, for each value of an axis."""
    places = [{axis: value} for value in values] if axis else [{}]
    return [
        solving(strategy, seed, 1000 if seed < count else None, **place)
        for place, count in zip(places, solved, strict=True)
        for seed in range(runs)
    ]


def test_solved_is_a_count_over_all_runs():
    """A run that diverged has not solved its task; steps are those of the solved runs."""
    runs = [
        solving("a", 0, 500),
        solving("a", 1, 1500),
        solving("a", 2, None),
        solving("a", 3, None, diverged_at_step=9),
    ]
    (row,) = standings(runs)
    assert (row.solved, row.runs, row.diverged, row.solved_fraction) == (2, 4, 1, 0.5)
    assert row.spreads["steps_to_solve"] == Spread(1000, 500, 1500)
    assert "solved" not in row.spreads


def test_without_a_task_there_is_no_count():
    """The count is not even 0."""
    assert standings([result("a", 0, 1.0)])[0].solved is None
    assert {row.solved for row in standings(tasks()) if row.axes["task"] == "digits"} == {None}


def test_with_a_task_a_run_without_metrics_is_not_solved():
    """A run that diverged may have no metrics at all."""
    lost = replace(solving("a", 0, None, diverged_at_step=3), metrics={"solved": None, "steps_to_solve": None})
    assert [row.solved for row in standings([lost, solving("b", 0, 500)])] == [0, 1]
    elsewhere = solving("b", 0, 500, length=50)
    assert [row.solved for row in standings([lost, elsewhere])] == [None, 1]


def test_dead_runs_are_counted_and_not_averaged():
    """They are in the table, by the values of an axis, and in a sentence; without them, nothing is said."""
    runs = [died(solving(n, s, None, lr=lr), n == "a" and s < 2) for n in "ab" for s in range(5) for lr in (1, 2, 3)]
    assert [row.dead for row in standings(runs)] == [2, 2, 2, 0, 0, 0]
    assert "6 of 15 runs of a died: the network's outputs no longer depend on its inputs." in words(runs)
    lines = to_text(render_comparison(runs), width=100).split("\n")
    assert lines[lines.index(" dead") + 1].split() == ["a", "2/5", "2/5", "2/5"]
    assert "dead" in next(line for line in lines if line.startswith("  lr ") and "solved" in line).split()
    assert next(line for line in lines if line.startswith("  1   ")).split()[2:11] == [
        *["0", "of", "5"] * 2,
        *["2", "of", "5"],
    ]
    alive = to_text(render_comparison([died(run, False) for run in runs]), width=100)
    assert "dead" not in alive
    assert "died" not in alive


def died(run: RunResult, is_dead: bool) -> RunResult:
    return replace(run, metrics={**run.metrics, "dead": float(is_dead)})


def test_the_strategy_that_solves_most_is_the_best():
    """Few steps of few runs do not count, and final errors are not compared."""
    fast = [solving("fast", seed, 250 if seed < 2 else None) for seed in range(5)]
    sure = [solving("sure", seed, 1000) for seed in range(5)]
    slow = [solving("slow", seed, 2000) for seed in range(5)]
    best = {row.strategy: row.best for row in standings([*fast, *sure, *slow])}
    assert best == {"fast": frozenset(), "sure": {"solved", "steps_to_solve"}, "slow": {"solved"}}
    assert {row.best for row in standings([*counts("a", 0), *counts("b", 0)])} == {frozenset()}


def test_with_one_strategy_models_are_compared():
    """All models in a setting are then one group."""
    rows = standings(tasks())
    assert [row.name for row in rows[:2]] == ["rnn", "lstm"]
    assert {row.group_name for row in rows} == {"task order", "task digits"}
    assert [row.name for row in rows if "test_error" in row.best] == ["rnn"]


def test_counts_are_put_into_words():
    """The strategies that solve most come first, and equal counts are together."""
    runs = [*counts("none", 1), *counts("norm", 5), *counts("value", 0), *counts("soft", 5)]
    assert "norm and soft solved 5 of 5 runs, none 1 of 5, value 0 of 5." in words(runs)


def test_each_setting_has_its_sentence():
    """Without a numeric axis, each setting has its counts, or else its main metric."""
    text = words(tasks())
    assert "For task order: lstm-forget-4.6 and gru-update-4.6 solved 5 of 5 runs, lstm-chrono 4 of 5" in text
    assert "For task digits, the lowest median test error is 0.14, by rnn, ahead of lstm with 0.165" in text
    many = [run for task in "abcdef" for run in counts("x", 1, axis="task", values=(task,))]
    assert words(many).endswith("For rnn (task d): x solved 1 of 5 runs. See the table for the other 2.")


def test_a_window_is_where_four_of_five_runs_are_solved():
    """On a numeric axis, the sentence gives the range that works, and compares the largest rates."""
    assert (
        "norm-1.0 works (at least 80% of runs solved) at lr 0.003 to 0.03, none at lr 1e-05 to 3e-05: "
        "the largest rate that works is 1,000 times larger with norm-1.0."
    ) in words(rates())


def test_a_window_at_the_edge_of_what_was_tried_is_a_lower_bound():
    """A larger rate might work too; with three strategies, the sentence names the other one."""
    runs = [
        run
        for name, solved in {"a": (5, 0, 0), "b": (5, 5, 0), "c": (5, 5, 5)}.items()
        for run in counts(name, *solved, axis="lr", values=(0.01, 0.1, 1.0))
    ]
    text = words(runs)
    assert "c works (at least 80% of runs solved) at every lr, b at lr 0.01 to 0.1, a at lr 0.01" in text
    assert ": the largest rate that works is at least 100 times larger with c than with a." in text


def test_only_rates_have_a_factor():
    """For any other axis, the ranges are enough."""
    runs = [*counts("a", 5, 0, axis="length", values=(50, 150)), *counts("b", 5, 5, axis="length", values=(50, 150))]
    assert words(runs) == ("No run diverged. b works (at least 80% of runs solved) at every length, a at length 50.")


def test_gaps_and_missing_values_are_reported():
    """A range is never wider than what was tried and works."""
    runs = [*counts("a", 5, 0, 5, 4, axis="lr", values=(1, 2, 3, 4)), *counts("b", 0, 1, axis="lr", values=(1, 2))]
    assert "a works (at least 80% of runs solved) at lr 1 and 3 to 4, b at no lr." in words(runs)
    assert "norm-1.0+omega-4 at length 50 (the only one tried), none at no length." in words(lengths())
    nowhere = [*counts("a", 1, 0, axis="lr", values=(1, 2)), *counts("b", 0, 1, axis="lr", values=(1, 2))]
    assert "No lr works (at least 80% of runs solved) with a or b." in words(nowhere)


@pytest.mark.parametrize(
    ("solved", "runs", "sentence"),
    [
        ((5, 2), 5, "With 5 seeds, counts that differ by fewer than 4 may differ by chance."),
        ((5, 1), 5, "a solved 5 of 5 runs, b 1 of 5."),
        ((3, 3), 5, "a and b solved 3 of 5 runs."),
        ((3, 0), 3, "3 seeds are too few to tell such differences from chance."),
        ((1, 0), 1, "One seed does not show whether that is more than chance."),
    ],
)
def test_differences_of_few_runs_are_not_called_proof(solved, runs, sentence):
    """The criterion is Fisher's exact test."""
    assert words([*counts("a", solved[0], runs=runs), *counts("b", solved[1], runs=runs)]).endswith(sentence)


def test_what_is_unfinished_is_not_compared():
    """In an interrupted study, some rows have fewer seeds than others."""
    whole = [*counts("a", 5, 2, axis="lr", values=(1, 2)), *counts("b", 0, axis="lr", values=(1,))]
    unfinished = counts("b", 0, runs=1, axis="lr", values=(2,))
    assert "chance" not in words([*whole, *unfinished])


@pytest.mark.parametrize("runs", [4, 5, 8])
def test_the_limit_of_chance_is_that_of_the_exact_test(runs):
    """At the limit, every pair of counts is unlikely by chance; just below it, some pair is not."""

    def p_value(a: int, b: int) -> float:
        def weight(k: int) -> float:
            return comb(runs, k) * comb(runs, a + b - k) / comb(2 * runs, a + b) if 0 <= a + b - k <= runs else 0.0

        return sum(w for k in range(runs + 1) if (w := weight(k)) <= weight(a) * (1 + 1e-9))

    limit = chance_limit(runs)
    assert limit is not None
    assert max(p_value(a, a - limit) for a in range(limit, runs + 1)) < 0.05
    assert max(p_value(a, a - limit + 1) for a in range(limit - 1, runs + 1)) >= 0.05


def test_a_table_shows_counts_and_dashes():
    """`solved` is never a median, and a missing value is a dash."""
    text = to_text(render_comparison([*counts("none", 0), *counts("norm", 3), *counts("soft", 5)]), width=100)
    none, norm, soft = (
        next(line for line in text.split("\n") if line.startswith(f"  {n} ")) for n in ("none", "norm", "soft")
    )
    assert none.split()[1:8] == ["0", "of", "5", "0", "of", "5", "–"]
    assert norm.split()[1:4] == ["3", "of", "5"]
    assert soft.split()[1:4] == ["*5", "of", "5"]
    assert "steps over those that solved the task" in " ".join(text.split())


def test_what_data_say_about_themselves_is_shown_once():
    """Each text has one line, however many runs read it."""
    texts = [
        RunResult("m", "a", seed, False, None, 1, 1.0, 0.0, {"x": 1.0}, data=f"text {seed % 2}") for seed in range(4)
    ]
    lines = to_text(render_comparison(texts), width=80).split("\n")
    assert [line for line in lines if line.startswith("  data: ")] == ["  data: text 0", "  data: text 1"]
