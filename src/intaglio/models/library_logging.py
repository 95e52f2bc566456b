"""Suppression of log lines and progress bars of diffusers and transformers while models are read and written."""

from collections.abc import Iterator
from contextlib import contextmanager

import diffusers.utils.logging as diffusers_logging
import transformers.utils.logging as transformers_logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Turns off the two libraries' progress bars and log lines below errors; their settings are restored."""
    kept = [(library, library.get_verbosity()) for library in (diffusers_logging, transformers_logging)]
    bars = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    try:
        for library, _ in kept:
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
    finally:
        for library, verbosity in kept:
            library.set_verbosity(verbosity)
        for library in bars:
            library.enable_progress_bar()
