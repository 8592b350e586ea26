"""`build`: from a `class_path` and `init_args` to an object."""

import pytest
from lightning.pytorch import Callback, LightningDataModule, LightningModule

from lightning_clip import Chain, MLPRegressor, NormClip, RegressionDataModule
from lightning_clip._errors import InputError
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.studies.factory import build
from tests.support.fresh import run


def test_an_object_is_what_its_configuration_says():
    """The object and its parts have the configured classes and arguments."""
    parts = [{"class_path": "lightning_clip.NormClip", "init_args": {"max_norm": 2.0}}, {"class_path": "SkipSpikes"}]
    chain = build(ClipStrategy, {"class_path": "lightning_clip.Chain", "init_args": {"strategies": parts}})
    assert isinstance(chain, Chain)
    assert repr(chain.strategies[0]) == repr(NormClip(2.0))


def test_modules_and_data_are_built_the_same_way():
    """The optimizer of a model is part of its configuration."""
    adam = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.125}}
    model = build(LightningModule, {"class_path": "MLPRegressor", "init_args": {"optimizer": adam}})
    assert isinstance(model, MLPRegressor)
    assert model.configure_optimizers().param_groups[0]["lr"] == 0.125
    assert isinstance(build(LightningDataModule, {"class_path": "RegressionDataModule"}), RegressionDataModule)


def test_class_names_are_found_without_imports(tmp_path):
    """A class of this package is found by its bare name, whatever was imported before."""
    script = (
        "from lightning.pytorch import LightningDataModule, LightningModule\n"
        "from lightning_clip.studies.factory import build\n"
        "build(LightningDataModule, {'class_path': 'RegressionDataModule'})\n"
        "build(LightningModule, {'class_path': 'MLPRegressor'})"
    )
    done = run(["-c", script], tmp_path)
    assert done.returncode == 0, done.stderr


def test_each_object_is_new():
    """Two runs never share a model."""
    config = {"class_path": "lightning_clip.MLPRegressor"}
    assert build(LightningModule, config) is not build(LightningModule, config)
    assert config == {"class_path": "lightning_clip.MLPRegressor"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_path": "lightning_clip.MLPRegressor"}, "MLPRegressor does not correspond to a subclass"),
        ({"class_path": "NoSuchClip"}, "there is no class 'NoSuchClip'"),
        ({"class_path": "ValueClip", "init_args": {"clip_value": "big"}}, "ValueClip: clip_value: expected float"),
        ({"class_path": "ValueClip", "init_args": {"clip_value": 0}}, r"ValueClip\(clip_value=0.0\): clip_value must"),
        ({"init_args": {}}, ".+"),
        ([], ".+"),
        (3, "3"),
    ],
)
def test_a_mistake_names_the_class_and_the_reason(config, message):
    """If an object cannot be built, the message says why in one line."""
    with pytest.raises(InputError, match=message) as raised:
        build(ClipStrategy, config)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "config",
    [
        {"class_path": "tests.support.studies.MismatchedClip"},
        {"class_path": "Chain", "init_args": {"strategies": [{"class_path": "tests.support.studies.MismatchedClip"}]}},
        {"class_path": "tests.support.studies.mismatched_clip"},
    ],
    ids=["itself", "a part", "a function"],
)
def test_an_exception_of_a_constructor_is_raised_as_it_is(config):
    """An exception of somebody else's code is not mistaken for a mistake in the configuration."""
    with pytest.raises(ValueError, match=r"^Foo\(a, b\): the shapes do not match here$") as raised:
        build(ClipStrategy, config)
    assert type(raised.value) is ValueError
    assert raised.value.__context__ is None
    assert raised.traceback[-1].path.name == "studies.py"


def test_an_exception_behind_an_optional_argument_is_raised_as_it_is():
    """The text of an exception is all that jsonargparse itself reports."""
    strategy = {"class_path": "tests.support.studies.MismatchedClip"}
    with pytest.raises(ValueError, match=r"^Foo\(a, b\): the shapes do not match here$"):
        build(Callback, {"class_path": "lightning_clip.GradientClipping", "init_args": {"strategy": strategy}})


def test_our_error_in_a_part_is_one_line():
    """The line quotes the call of the part."""
    strategy = {"class_path": "NormClip", "init_args": {"max_norm": -1}}
    with pytest.raises(InputError, match=r"^lightning_clip.GradientClipping: NormClip\(max_norm=-1.0\): max_norm must"):
        build(Callback, {"class_path": "lightning_clip.GradientClipping", "init_args": {"strategy": strategy}})
