"""Amounts in words for people: bytes and seconds."""


def size_words(count: int) -> str:
    """Bytes with three digits, in powers of 1000 up to GB."""
    power = min(3, (len(str(count)) - 1) // 3)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def duration_words(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"
