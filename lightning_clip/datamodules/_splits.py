"""Splits one sequence into training, validation and test parts, in this order; used by series and stream data."""

from lightning_clip._checks import check_instance, check_rule


def check_fractions(call: str, val_fraction: float, test_fraction: float) -> None:
    """Raise unless two fractions leave something to train on.

    Args:
        call: The name of the class that takes the fractions, for the message.
        val_fraction: Fraction of the sequence for validation.
        test_fraction: Fraction of the sequence for testing.

    Raises:
        ArgumentError: A fraction is negative, or they add up to 1 or more.
    """
    check_instance(call, int | float, val_fraction=val_fraction, test_fraction=test_fraction)
    check_rule(
        f"{call}(val_fraction={val_fraction!r}, test_fraction={test_fraction!r})",
        "both must be at least 0, and their sum below 1",
        holds=val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1,
    )


def split_edges(length: int, val_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Where the validation part and the test part of a sequence start.

    Args:
        length: Elements of the sequence.
        val_fraction: Fraction of the sequence for validation.
        test_fraction: Fraction of the sequence for testing.

    Returns:
        The index of the first validation element and of the first test element.

    Example:
        >>> split_edges(100, 0.15, 0.1)
        (75, 90)
    """
    return round(length * (1 - val_fraction - test_fraction)), round(length * (1 - test_fraction))
