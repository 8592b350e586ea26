"""Checks of constructor arguments: quote the call, state the rule."""


def check_whole(call: str, *, at_least: int = 1, **arguments: int) -> None:
    """Raise unless every argument is a whole number of at least `at_least`.

    Args:
        call: What was called, for instance `"RegressionDataModule"`.
        at_least: The smallest number allowed.
        **arguments: The arguments by name.

    Raises:
        TypeError: An argument is not a whole number.
        ValueError: An argument is too small.
    """
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{call}({name}={value!r}): {name} must be a whole number.")
        if value < at_least:
            raise ValueError(f"{call}({name}={value!r}): {name} must be at least {at_least}.")


def check_rule(call: str, rule: str, *, holds: bool) -> None:
    """Raise unless a rule holds.

    Args:
        call: The call as typed, with the arguments that the rule is about.
        rule: The rule, for instance `"noise must be at least 0"`.
        holds: Whether it does.

    Raises:
        ValueError: It does not.
    """
    if not holds:
        raise ValueError(f"{call}: {rule}.")
