"""`Case`: one bad input and what its answer has to say; `problems`: try it, and list what is wrong with the answer.

Everything runs in this process, in an empty folder. `Command` is a call of the command line, `Script` an expression.
"""

import contextlib
import io
import os
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from lightning_clip.cli.main import main

Files = Mapping[str, str | bytes | None]
"""What lies in the folder before: the content of each file; `None` for a folder."""

_SECONDS = 20.0

Content = dict[str, bytes | None]


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        area: The part of the product that has to answer it.
        name: What is bad, unique within its area.
        says: What the one line of the answer contains: what was given, and what to do.
        files: What lies in the folder.
    """

    area: str
    name: str
    says: tuple[str, ...]
    files: Files = field(default_factory=dict)

    def answer(self) -> "Answer":
        """Try the input in the working folder."""
        raise NotImplementedError


@dataclass(frozen=True)
class Answer:
    """What came.

    Attributes:
        line: The error message; empty if there was none.
        complaints: What is wrong with the form of the answer.
    """

    line: str
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command(Case):
    """A command that cannot be run: one line, exit code 2.

    Attributes:
        args: The arguments of `lightning-clip`.
        code: The exit code.
    """

    args: tuple[str, ...] = ()
    code: int = 2

    def answer(self) -> Answer:
        """Run the command in this process."""
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), _noted_warnings() as noted:
            try:
                code: Any = main(list(self.args))
            except SystemExit as end:
                code = end.code
            except BaseException:
                return Answer(traceback.format_exc().splitlines()[-1], ("a traceback",))
        lines = error.getvalue().splitlines()
        ours = [line for line in lines if line.startswith("lightning-clip: ")]
        complaints = [f"exit code {code}"] * (code != self.code)
        complaints += [f"{len(ours)} lines"] * (len(ours) != 1 or lines[-1:] != ours)
        complaints += ["more than the line on standard output"] * bool(out.getvalue() and self.args[0] != "fit")
        complaints += [f"a warning: {text}" for text in noted]
        return Answer(ours[-1] if ours else "", tuple(complaints))


@dataclass(frozen=True)
class Warned(Case):
    """A destination that cannot be used: one warning, and the training goes on.

    Attributes:
        run: Trains.
    """

    run: Callable[[], object] = int

    def answer(self) -> Answer:
        """Train in this process."""
        out = io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            try:
                code = self.run()
            except BaseException:
                return Answer(traceback.format_exc().splitlines()[-1], ("the training ended",))
        lines = [str(one.message) for one in caught if _is_ours(str(one.message))]
        complaints = [f"{len(lines)} warnings"] * (len(lines) != 1) + [f"exit code {code}"] * bool(code)
        return Answer(lines[0] if lines else "", tuple(complaints))


@dataclass(frozen=True)
class Script(Case):
    """An expression that cannot be evaluated: an exception that can be caught, whose message is one line.

    Attributes:
        code: The expression; by default the name of the case.
        names: What it may use, beside the names of `SCRIPT_NAMES`.
    """

    code: str = ""
    scope: Callable[[], dict[str, Any]] = dict

    def answer(self) -> Answer:
        """Evaluate the expression in this process."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), _noted_warnings():
            try:
                made = eval(self.code or self.name, self.scope())  # an expression of our own
            except (ValueError, TypeError, MisconfigurationException) as error:
                complaints = ["the message has several lines"] * ("\n" in str(error))
                return Answer(str(error), tuple(complaints))
            except Exception as error:
                return Answer(f"{type(error).__name__}: {error}", ("an exception of another type",))
        return Answer("", (f"accepted: {str(made).splitlines()[0][:80]}",))


def _is_ours(message: str) -> bool:
    return "is set aside" in message or "matches no parameter" in message


@contextlib.contextmanager
def _noted_warnings() -> Iterator[list[str]]:
    """Note the warnings about numbers that overflow or are NaN, and hide all others."""
    noted: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield noted
    noted += [str(one.message) for one in caught if issubclass(one.category, RuntimeWarning)]


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise where an answer takes too long."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"no answer in {seconds} seconds")

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def problems(case: Case, folder: Path) -> list[str]:
    """Try a case in an empty folder.

    Args:
        case: The case.
        folder: The folder.

    Returns:
        What is wrong with the answer; empty if it is right.
    """
    for name, content in case.files.items():
        path = folder / name
        (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    before = _content(folder)
    seed = os.environ.pop("PL_GLOBAL_SEED", None)
    with contextlib.chdir(folder), _limited(_SECONDS):
        answer = case.answer()
    os.environ.pop("PL_GLOBAL_SEED", None)
    if seed is not None:
        os.environ["PL_GLOBAL_SEED"] = seed
    found = list(answer.complaints)
    found += [f"does not say {text!r}" for text in case.says if text not in answer.line]
    found += ["has a control character"] * bool(re.search(r"[\x00-\x1f\x7f-\x9f]", answer.line))
    after = _content(folder)
    found += [f"changed {name!r}" for name in before if after.get(name, b"") != before[name]]
    if not isinstance(case, Warned):
        found += [f"left {name!r}" for name in after if name not in before]
    return [f"{text}; came: {answer.line}" for text in found]


def _content(folder: Path) -> Content:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


__all__ = ["Case", "Command", "Script", "Warned", "problems"]
