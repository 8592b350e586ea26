"""Claims that hold on any machine: each study with other seeds, and with the last bit of every weight changed.

`make claims` runs these tests alone.
"""

import pytest

from lightning_clip.studies import ResultsFolder, run_study
from tests.studies.claims import CLAIMS
from tests.studies.small_forms import SEEDS, small_form
from tests.support.perturbed import with_another_last_bit, with_other_seeds

TRAIN_NO_WEIGHTS_OF_A_TRAINER = ("cliff", "tbptt-bias")
"""Experiments of their own, which take no callbacks: other seeds are their perturbation."""


def test_every_claim_has_a_small_form():
    assert SEEDS.keys() == CLAIMS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_a_claim_holds_with_other_seeds(name, tmp_path):
    CLAIMS[name](run_study(with_other_seeds(small_form(name)), ResultsFolder(tmp_path), jobs=2))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEEDS if name not in TRAIN_NO_WEIGHTS_OF_A_TRAINER])
def test_a_claim_holds_with_another_last_bit(name, tmp_path):
    CLAIMS[name](run_study(with_another_last_bit(small_form(name)), ResultsFolder(tmp_path), jobs=2))
