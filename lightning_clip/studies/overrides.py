"""`overridden`: a configuration with some of its values replaced."""

from typing import Any


def overridden(config: Any, changes: Any) -> Any:
    """Replace some values of a configuration, at any depth.

    Keys and values are merged key by key; everything else is replaced. Where the changes name another `class_path`
    nothing is kept of the arguments of the old class.

    Args:
        config: The configuration, which is not changed.
        changes: What is to be different.

    Returns:
        A new configuration.

    Example:
        >>> sgd = {"class_path": "SGD", "init_args": {"lr": 0.1, "momentum": 0.9}}
        >>> overridden(sgd, {"init_args": {"lr": 0.2}})
        {'class_path': 'SGD', 'init_args': {'lr': 0.2, 'momentum': 0.9}}
        >>> overridden(sgd, {"class_path": "Adam", "init_args": {"lr": 0.2}})
        {'class_path': 'Adam', 'init_args': {'lr': 0.2}}
    """
    if not isinstance(config, dict) or not isinstance(changes, dict):
        return changes
    if changes.get("class_path", config.get("class_path")) != config.get("class_path"):
        return changes
    return {**config, **{key: overridden(config.get(key), value) for key, value in changes.items()}}
