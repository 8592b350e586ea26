"""`Globs`: shell-style patterns that select parameters by name."""

import re
import warnings
from collections.abc import Iterable
from fnmatch import translate

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import ArgumentError, ArgumentTypeError
from lightning_clip.core.gradients import Gradients

REST = "*"


def did_you_mean_glob(glob: str, names: Iterable[str]) -> str:
    """Find the parameter, or all parameters of a module, that a glob without a match probably meant.

    Args:
        glob: The glob.
        names: The names of all parameters.

    Returns:
        The end of an error message; empty if nothing is similar.

    Example:
        >>> did_you_mean_glob("haed.*", ["head.weight", "head.bias"])
        "; did you mean 'head.*'?"
    """
    modules = dict.fromkeys(f"{name.rpartition('.')[0]}.*" for name in names if "." in name)
    return did_you_mean(glob, [*modules, *names])


class Globs:
    """Finds the glob that matches each parameter's name.

    A glob that matches no parameter raises an error at the first step. The check is against all parameter names that
    the caller knows, so a parameter that has no gradient at that step raises no false alarm. If parameters are
    exchanged later, a glob that no longer matches any warns once. The glob `"*"` stands for the rest: it matches
    whatever no other glob matches, and may match nothing.

    Args:
        call: The call that passed the globs, quoted in error messages, for instance `"AGC(exclude=('head.*',))"`.
        globs: Patterns in the syntax of `fnmatch`: `*` any characters, `?` one character, `[ab]` one of these. Case
            matters.
        exclusive: Whether a parameter that two globs match raises an error; otherwise the first glob wins.

    Raises:
        ArgumentTypeError: `globs` is a single string.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> Globs("demo()", ["*bias"]).of(Gradients.of_module(layer))
        [None, '*bias']
    """

    def __init__(self, call: str, globs: Iterable[str], *, exclusive: bool = True) -> None:
        if isinstance(globs, str):
            raise ArgumentTypeError(f"{call}: one string was given; put the globs in a list: [{globs!r}].")
        self.call = call
        self.globs = tuple(globs)
        self.exclusive = exclusive
        self._patterns = {glob: re.compile(translate(glob)) for glob in self.globs if glob != REST}
        self._found: dict[str, str | None] = {}
        self._seen: tuple[str, ...] | None = None
        self._known: frozenset[str] | None = None
        self._lost: set[str] = set()

    def of(self, grads: Gradients) -> list[str | None]:
        """Return the glob that matches each gradient's parameter.

        Args:
            grads: The gradients of this step.

        Returns:
            `n` globs; `None` for a parameter that no glob matches.

        Raises:
            ArgumentError: A glob matches no parameter, or two globs match the same parameter.
        """
        if self._patterns and grads.names != self._seen and (names := grads.known_names):
            self._check(names)
            self._seen = grads.names
        return [self._of(name) for name in grads.names]

    def _of(self, name: str) -> str | None:
        if name not in self._found:
            self._found[name] = self._match(name)
        return self._found[name]

    def _match(self, name: str) -> str | None:
        matching = [glob for glob, pattern in self._patterns.items() if pattern.match(name)]
        if self.exclusive and len(matching) > 1:
            listed = " and ".join(repr(glob) for glob in matching)
            raise ArgumentError(
                f"{self.call}: {name!r} is matched by {listed}; make them narrower so that only one matches."
            )
        return matching[0] if matching else REST if REST in self.globs else None

    def _check(self, names: tuple[str, ...]) -> None:
        """Check every glob against all known names, at the first step and whenever these names change."""
        known = frozenset(names)
        if known == self._known:
            return
        for glob, pattern in self._patterns.items():
            if not any(pattern.match(name) for name in names):
                shown = ", ".join(repr(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
                if self._known is None:
                    end = did_you_mean_glob(glob, names) or "; correct it or remove it."
                    raise ArgumentError(f"{self.call}: {glob!r} matches no parameter ({shown}){end}")
                self._warn_once(glob, shown)
        for name in names:
            self._of(name)
        self._known = known

    def _warn_once(self, glob: str, shown: str) -> None:
        if glob not in self._lost:
            self._lost.add(glob)
            warnings.warn(
                f"{self.call}: {glob!r} no longer matches any parameter ({shown}), because parameters were exchanged. "
                "It has no effect from now on; add a glob for the new ones.",
                stacklevel=2,
            )
