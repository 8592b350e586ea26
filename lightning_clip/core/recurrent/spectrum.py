"""What a sample of recurrent weights and units is made of."""

KIND = "recurrent-spectrum"
"""What its measurements are called."""

SHARES = (
    "saturated_fraction",
    "dead_fraction",
    "forget_gate_mean",
    "forget_gate_max",
    "update_gate_mean",
    "update_gate_max",
    "saturated_gate_fraction",
)
"""What is known of the units behind each recurrent weight; NaN where it does not apply or was not seen."""

Data = dict[str, float | str | list[float] | list[str]]


def column(data: Data, name: str) -> list[float]:
    """A list of numbers in what `SpectrumProbe.read` has returned; empty where it is none.

    Args:
        data: Of a measurement.
        name: Of the list.

    Returns:
        The numbers.
    """
    values = data.get(name)
    return [value for value in values if not isinstance(value, str)] if isinstance(values, list) else []


def words(data: Data, name: str) -> list[str]:
    """A list of words in what `SpectrumProbe.read` has returned; empty where it is none.

    Args:
        data: Of a measurement.
        name: Of the list.

    Returns:
        The words.
    """
    values = data.get(name)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
