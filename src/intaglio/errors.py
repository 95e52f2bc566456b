"""Errors shown to the user, and the check of a setting."""


class IntaglioError(Exception):
    """A failure, in one clear sentence that names the thing and the remedy; shown to the user as it is."""

    exit_code = 1


class BadInput(IntaglioError):
    """Unusable input; raised before any work."""

    exit_code = 2


class UnfitAdapter(BadInput):
    """An adapter of which nothing fits the model."""


def require(holds: bool, sentence: str) -> None:
    """Raises `ValueError` with the sentence, which names the setting and its range, unless the condition holds."""
    if not holds:
        raise ValueError(sentence)
