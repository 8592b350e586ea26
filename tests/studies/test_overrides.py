"""`overridden`: a configuration with some of its values replaced."""

from copy import deepcopy

from lightning_clip.studies.study import overridden

CONFIG = {"class_path": "Net", "init_args": {"size": 3, "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.1}}}}


def test_only_what_is_named_changes():
    """A change deep inside leaves everything beside it, and the original, as they were."""
    before = deepcopy(CONFIG)
    changed = overridden(CONFIG, {"init_args": {"optimizer": {"init_args": {"lr": 0.2}}}})
    assert changed["init_args"] == {"size": 3, "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.2}}}
    assert before == CONFIG


def test_another_class_brings_its_own_arguments():
    """Arguments of the class that is replaced are not handed to the new one, at any depth."""
    adam = {"class_path": "Adam", "init_args": {"betas": [0.9, 0.99]}}
    assert overridden(CONFIG, {"init_args": {"optimizer": adam}})["init_args"]["optimizer"] == adam
    assert overridden(CONFIG, {"class_path": "Other"}) == {"class_path": "Other"}


def test_the_same_class_keeps_its_arguments():
    """Naming the class again changes nothing by itself."""
    assert overridden(CONFIG, {"class_path": "Net"}) == CONFIG


def test_a_list_is_replaced_as_a_whole():
    """Only keys are merged; there is nothing to merge with where nothing was."""
    assert overridden({"a": [1, 2]}, {"a": [3], "b": {"c": 1}}) == {"a": [3], "b": {"c": 1}}
    assert overridden(None, {"a": 1}) == {"a": 1}
