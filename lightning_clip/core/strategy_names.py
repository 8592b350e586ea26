"""Strategies by name: `strategy_named` builds one from a string, `is_same_strategy` compares two of their `repr`s."""

import ast
import inspect
from difflib import get_close_matches
from importlib import import_module

from lightning_clip._checks import subclasses
from lightning_clip._errors import ArgumentError
from lightning_clip.core.strategy import ClipStrategy


def strategy_classes() -> dict[str, type[ClipStrategy]]:
    """Every concrete strategy that is defined at this time, the user's own included, by class name."""
    return {cls.__name__: cls for cls in subclasses(ClipStrategy) if not inspect.isabstract(cls)}


def strategy_named(call: str, text: str) -> ClipStrategy:
    """Build a strategy from its name.

    Args:
        call: The name of the class that was called, quoted in errors.
        text: The name of a class, in any case and with or without `Clip` at the end, or the import path of a class;
            arguments may follow in parentheses, as numbers, strings and lists of these: `"autoclip"`, `"norm(0.5)"`,
            `"AutoClip(window=100)"`, `"my_module.MyClip"`.

    Returns:
        The strategy, with its defaults for all arguments that are not given.

    Raises:
        ArgumentError: There is no such strategy, or what follows its name cannot be read.

    Example:
        >>> import lightning_clip.strategies
        >>> strategy_named("GradientClipping", "norm(0.5)").label
        'NormClip(0.5)'
    """
    name, args, kwargs = _read(call, text)
    cls = _imported(call, text, name) if "." in name else _known(call, text, name)
    try:
        inspect.signature(cls).bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(f"{call}({text!r}): {error}; see the arguments of {cls.__name__}.") from None
    return cls(*args, **kwargs)


def _known(call: str, text: str, name: str) -> type[ClipStrategy]:
    classes = strategy_classes()
    by_plain = {_plain(known): known for known in reversed(classes)}
    by_plain = {plain.removesuffix("clip"): known for plain, known in by_plain.items()} | by_plain
    known = by_plain.get(_plain(name))
    if known is None:
        meant = get_close_matches(_plain(name), by_plain, n=1)
        shown = f"did you mean {by_plain[meant[0]]!r}?" if meant else f"choose from {', '.join(sorted(classes))}."
        raise ArgumentError(f"{call}({text!r}): there is no such strategy; {shown}")
    return classes[known]


def _imported(call: str, text: str, path: str) -> type[ClipStrategy]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ArgumentError(f"{call}({text!r}): there is no module {error.name!r}; check the import path.") from None
    if not isinstance(found, type) or not issubclass(found, ClipStrategy) or inspect.isabstract(found):
        raise ArgumentError(f"{call}({text!r}): {module!r} has no strategy {name!r}; name a subclass of ClipStrategy.")
    return found


def is_same_strategy(one: str, other: str) -> bool:
    """Whether two `repr`s stand for the same strategy: an argument that one of them lacks counts as its default.

    Args:
        one: A `repr`, for instance from a checkpoint that was saved before an argument existed.
        other: A `repr`.

    Example:
        >>> import lightning_clip.strategies
        >>> is_same_strategy("NormClip(max_norm=0.5)", "NormClip(max_norm=0.5, norm_type=2.0, eps=1e-06)")
        True
    """
    return one == other or _without_defaults(one) == _without_defaults(other)


def _read(call: str, text: str) -> tuple[str, list[object], dict[str, object]]:
    if all(part.isidentifier() for part in text.strip().split(".")):
        return text.strip(), [], {}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name | ast.Attribute):
            raise ValueError
        arguments = [ast.literal_eval(value) for value in tree.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in tree.keywords}
    except (SyntaxError, ValueError):
        raise ArgumentError(
            f"{call}({text!r}): strategy must be a name such as 'autoclip', with or without arguments as in "
            f"'norm(0.5)'; pass anything else as an instance."
        ) from None
    return ast.unparse(tree.func), arguments, named


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


def _without_defaults(text: str) -> str:
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return text
    classes = strategy_classes()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
            parameters = inspect.signature(classes[node.func.id]).parameters
            node.keywords = [
                keyword
                for keyword in node.keywords
                if keyword.arg is None
                or keyword.arg not in parameters
                or not _is(parameters[keyword.arg].default, keyword.value)
            ]
    return ast.unparse(tree)


def _is(default: object, written: ast.expr) -> bool:
    """Whether an argument, as it is written in a `repr`, is a default."""
    try:
        return ast.dump(ast.parse(repr(default), mode="eval").body) == ast.dump(written)
    except SyntaxError:
        return False
