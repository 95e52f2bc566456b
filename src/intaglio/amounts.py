"""Amounts in words for people: bytes, seconds and joules."""


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


def energy_words(joules: float) -> str:
    """Joules with three digits in powers of 1000, and watt-hours beside them from 1 kJ on."""
    power = min(3, max(0, (len(str(int(abs(joules)))) - 1) // 3))
    words = f"{joules / 1000**power:.3g} {('J', 'kJ', 'MJ', 'GJ')[power]}"
    return words if power == 0 else f"{words} ({joules / 3600:.3g} Wh)"
