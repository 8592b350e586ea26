"""Numbers and names as people read them, for everything that is printed."""

import math
from collections.abc import Sequence
from unicodedata import east_asian_width

DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float | None) -> str:
    """A number with three significant digits.

    Args:
        value: The number; `None` and NaN are shown as `DASH`.

    Returns:
        The text, for instance `0.00421`, `12.3`, `4,210`, `1.2e+06`.

    Example:
        >>> [number(x) for x in (0.0042123, 12.345, 4210.4, 1234567.0, 0.0, float("inf"))]
        ['0.00421', '12.3', '4,210', '1.23e+06', '0', 'inf']
    """
    if value is None or math.isnan(value):
        return DASH
    if value == 0 or math.isinf(value):
        return f"{value:g}"
    rounded = float(f"{value:.2e}")
    if not 1e-3 <= abs(rounded) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{exponent}"
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def literal(value: float) -> str:
    """A number with two significant digits as code writes it: `1100`, `0.0032`."""
    return f"{float(f'{value:.2g}'):g}"


def count(value: float) -> str:
    """A whole number with separators: `1,600`."""
    return f"{round(value):,}"


def counted(value: int, thing: str) -> str:
    """A number of things: `1 step`, `1,600 steps`."""
    return f"{count(value)} {thing}{'' if value == 1 else 's'}"


def percent(fraction: float | None) -> str:
    """A fraction in percent that reads 0% or 100% only where that is exact.

    Example:
        >>> [percent(x) for x in (0.0, 0.0002, 0.052, 0.5, 0.9999, 1.0)]
        ['0%', '< 0.1%', '5.2%', '50%', '> 99.9%', '100%']
    """
    if fraction is None or math.isnan(fraction):
        return DASH
    if 0 < fraction < 0.0005:
        return "< 0.1%"
    if 0.9995 <= fraction < 1:
        return "> 99.9%"
    return f"{100 * fraction:.1f}".removesuffix(".0") + "%"


def bar(fraction: float, width: int) -> str:
    """A bar of at most `width` characters.

    Example:
        >>> bar(0.3, 10), bar(0.01, 10)
        ('███', '▏')
    """
    eighths = min(round(fraction * width * 8), width * 8)
    full, part = divmod(eighths, 8)
    return "█" * full + " ▏▎▍▌▋▊▉"[part].strip()


def duration(seconds: float | None) -> str:
    """A duration.

    Example:
        >>> [duration(x) for x in (0.25, 12.34, 75.0, 4000.0)]
        ['0.25 s', '12.3 s', '1 min 15 s', '1 h 6 min']
    """
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def shorten(name: str, width: int) -> str:
    """A dotted name in at most `width` characters; its end says most, so the beginning is cut.

    Example:
        >>> shorten("encoder.layers.0.weight", 12)
        '…rs.0.weight'
    """
    if cells(name) <= width:
        return name
    rest = name.removeprefix("…")[1 - width :] if width > 1 else ""
    while cells(rest) >= width > 1:
        rest = rest[1:]
    return "…"[:width] + rest


def cells(text: str) -> int:
    """The number of columns that a text takes in a terminal, where Chinese characters and emoji take two.

    Example:
        >>> cells("layer"), cells("层"), cells("🙂")
        (5, 2, 2)
    """
    return len(text) if text.isascii() else sum(1 + (east_asian_width(char) in "WF") for char in text)


def shorten_all(names: Sequence[str], width: int) -> list[str]:
    """Dotted names in at most `width` characters: what they share at their beginning is cut first, then the middle.

    Example:
        >>> shorten_all(["encoder.layers.0.weight", "encoder.layers.1.weight"], 12)
        ['…0.weight', '…1.weight']
        >>> shorten_all(["layers.0.forward.weight_hh_l0", "layers.1.forward.weight_hh_l0"], 16)
        ['…0.…weight_hh_l0', '…1.…weight_hh_l0']

    No two names look the same:

        >>> shorten_all(["encoder.first.attention.weight", "decoder.first.attention.weight"], 12)
        ['enco….weight', 'deco….weight']
    """
    if not names or max(map(cells, names)) <= width:
        return list(names)
    parts = [name.split(".") for name in names]
    shared = 0
    while min(map(len, parts)) > shared + 1 and len({part[shared] for part in parts}) == 1:
        shared += 1
    for cut in range(shared + 1):  # no more than needed
        rests = ["…" * bool(cut) + ".".join(part[cut:]) for part in parts]
        if max(map(cells, rests)) <= width:
            break
    short = [_without_middle(rest, width) for rest in rests]
    for kept in range(width // 3, width - 2):  # where names look the same, more of their beginnings is kept
        if len(set(short)) == len(set(rests)):
            return short
        short = [rest if cells(rest) <= width else rest[:kept] + shorten(rest, width - kept) for rest in rests]
    return short if len(set(short)) == len(set(rests)) else _numbered(rests, width)


def _numbered(names: Sequence[str], width: int) -> list[str]:
    """Names that cannot be told apart in so few characters, with a number each."""
    number_of = {name: f"#{place}" for place, name in enumerate(dict.fromkeys(names), 1)}
    return [shorten(name, max(1, width - len(number_of[name]))) + number_of[name] for name in names]


def _without_middle(name: str, width: int) -> str:
    head = name[: name.find(".") + 1]
    if cells(name) <= width or cells(head) > width // 3:
        return shorten(name, width)
    return head + shorten(name, width - cells(head))


def listed_briefly(names: Sequence[str], *, last: str = "and") -> str:
    """Names in a sentence: up to six; of more than six, the first four.

    Example:
        >>> listed_briefly(["a", "b", "c", "d", "e"]), listed_briefly(["a", "b", "c", "d", "e", "f", "g"])
        ('a, b, c, d and e', 'a, b, c, d and 3 more')
    """
    return listed(names, at_most=len(names) if len(names) <= 6 else 4, last=last)


def listed(names: Sequence[str], *, at_most: int = 3, last: str = "and") -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
        ('a', 'a and b', 'a, b, c and 2 more')
    """
    shown = list(names[:at_most])
    if len(names) > at_most:
        shown.append(f"{len(names) - at_most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"
