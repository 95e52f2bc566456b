"""The command line's entry: whatever happens ends in an exit code and, where it is bad, in one sentence."""

import os
import sys
from collections.abc import Sequence

from intaglio.commands.kit.dispatch import run
from intaglio.errors import IntaglioError
from intaglio.printable import printable


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (by default this process's) and return its exit code.

    0 done, 1 failed, 2 bad usage, 130 interrupted with the state saved.
    """
    words = list(sys.argv[1:] if words is None else words)
    own = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in own
    try:
        return run([*(word for word in own if word != "--debug"), *words[len(own) :]])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        sentence, code = in_words(error)
        sys.stderr.write(f"intaglio: {printable(sentence)}\n")
        return code


def in_words(error: BaseException) -> tuple[str, int]:
    """One sentence for what went wrong, and the exit code."""
    if isinstance(error, IntaglioError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the same command goes on from where it was", 130
    text = " ".join(str(error).split())
    if getattr(error, "errno", None) == 28 or "os error 28" in text or "No space left" in text:
        return "the disk is full; make room, and the same command goes on from where it was", 1
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or "can't allocate memory" in text:
        return "out of memory; a smaller --batch or --micro-batch needs less, and the same command goes on", 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 1
    return f"a fault of intaglio itself, {kind}: {text} (--debug shows where; report it with `intaglio doctor`)", 1
