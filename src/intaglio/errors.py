"""The two ways a command ends badly: it failed, or what it was given cannot work."""


class IntaglioError(Exception):
    """One clear sentence that names the thing and the remedy; shown to the user as it is."""

    exit_code = 1


class BadInput(IntaglioError):
    """What the user gave cannot work; raised before time is spent."""

    exit_code = 2
