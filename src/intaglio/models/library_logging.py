"""Suppression of log lines and progress bars of diffusers and transformers while models are read and written."""

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR

import diffusers.utils.logging as diffusers_logging
import transformers.utils.logging as transformers_logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Turns off the two libraries' progress bars and log lines below errors; their settings are restored."""
    libraries = (diffusers_logging, transformers_logging)
    # A change of level empties the caches of all loggers there are, which nested calls would pay each.
    kept = [(one, verbosity) for one in libraries if (verbosity := one.get_verbosity()) != ERROR]
    bars = [one for one in libraries if one.is_progress_bar_enabled()]
    try:
        for library, _ in kept:
            library.set_verbosity_error()
        for library in bars:
            library.disable_progress_bar()
        yield
    finally:
        for library, verbosity in kept:
            library.set_verbosity(verbosity)
        for library in bars:
            library.enable_progress_bar()
