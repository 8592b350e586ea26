import pytest
import torch

import lightning_clip as lc
from lightning_clip import ClipStrategy, GradientClipping
from lightning_clip.core.strategy_names import is_same_strategy, strategy_named
from tests.contract.discovered import concrete_strategies


@pytest.mark.parametrize("cls", concrete_strategies(), ids=lambda cls: cls.__name__)
def test_every_strategy_has_a_name(cls):
    """The class name in any case, and without `Clip` at the end, stands for the strategy with its defaults."""
    name = cls.__name__
    for text in (name, name.lower(), name.removesuffix("Clip").lower(), f"{name}()"):
        assert repr(strategy_named("GradientClipping", text)) == repr(cls())


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("norm(0.5)", lc.NormClip(0.5)),
        ("ema_ratio", lc.EmaRatioClip()),
        ("AutoClip(90, window=None, include_current=True)", lc.AutoClip(90, window=None, include_current=True)),
        ("group-norm({'head.*': 0.1, '*': 1.0})", lc.GroupNormClip({"head.*": 0.1, "*": 1.0})),
        (" z(mode='mean') ", lc.ZClip(mode="mean")),
    ],
)
def test_arguments_may_follow(text, strategy):
    """They are read as literals, and a callback takes the whole as its strategy."""
    text = text.replace("group-norm", "group_norm")
    assert repr(GradientClipping(text).strategy) == repr(strategy)


def test_a_strategy_of_the_user_has_a_name_too():
    """It is found through the class hierarchy."""

    class HalveEverything(ClipStrategy):
        """Halve all gradients."""

        def decide(self, grads):
            return lc.Scale(torch.tensor(0.5))

    assert isinstance(GradientClipping("halveeverything").strategy, HalveEverything)


def test_an_import_path_is_a_name_too(tmp_path, monkeypatch):
    """A class that is not imported yet is found by its path; what is missing is named."""
    (tmp_path / "their_module.py").write_text("from lightning_clip import NormClip as Theirs")
    monkeypatch.syspath_prepend(tmp_path)
    assert repr(GradientClipping("their_module.Theirs").strategy) == repr(lc.NormClip())
    assert repr(GradientClipping("their_module.Theirs(0.5)").strategy) == repr(lc.NormClip(0.5))
    with pytest.raises(ValueError, match=r"\('no_module.Clip'\): there is no module 'no_module'"):
        GradientClipping("no_module.Clip")
    with pytest.raises(ValueError, match="'their_module' has no strategy 'Others'"):
        GradientClipping("their_module.Others")
    (tmp_path / "broken_module.py").write_text("import no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        GradientClipping("broken_module.Clip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("autoclp", r"GradientClipping\('autoclp'\): there is no such strategy; did you mean 'AutoClip'\?"),
        ("xyz", r"there is no such strategy; choose from AGC, AdaGC, "),
        ("norm(open('x'))", r"strategy must be a name such as 'autoclip', with or without arguments"),
        ("0.5", r"strategy must be a name such as 'autoclip'"),
        ("norm(1, 2, 3)", r"GradientClipping\('norm\(1, 2, 3\)'\): too many positional arguments; see .* of NormClip"),
        ("norm(-1)", r"NormClip\(max_norm=-1\): max_norm must be a positive, finite number"),
    ],
)
def test_a_wrong_name_is_one_line(text, message):
    """It quotes the call and names what was meant."""
    with pytest.raises(ValueError, match=message):
        GradientClipping(text)


def test_a_checkpoint_from_before_an_argument_fits():
    """An argument that the saved `repr` lacks counts as its default, in the parts of a composite too."""
    now = repr(lc.Chain([lc.SkipSpikes(), lc.NormClip(0.5)]))
    before = now.replace(", max_fraction=0.01", "").replace(", min_scale=0.0", "")
    assert before != now
    assert is_same_strategy(before, now)
    assert not is_same_strategy(before.replace("0.5", "0.6"), now)
    assert not is_same_strategy("AdaptiveMaxClip(decay=0.7)", repr(lc.AdaptiveMaxClip()))
    assert is_same_strategy("not python", "not python")
