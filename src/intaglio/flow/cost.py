"""`BlockPasses`: how often a decoder puts patches through a block, known before it does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockPasses:
    """Passes of one block over windows of equal length."""

    window: int
    """Patches of a pass, 1 or more."""
    start: int
    """Patches before the window, whose keys and values are kept from earlier passes; 0 for none."""
    count: int
    """Passes, 1 or more."""
    exact: bool = True
    """Whether there are always so many; else at most."""


def patch_by_patch(tokens: int) -> tuple[BlockPasses, ...]:
    """The T - 1 passes of a block of T patches, one patch each, at the mean place.

    The l-th attends to l keys, (T - 1) T / 2 in all, as many as if each were in the middle.
    """
    return (BlockPasses(1, max(0, tokens // 2 - 1), tokens - 1),) if tokens > 1 else ()


def sweeps(tokens: int, most: int | None = None) -> tuple[BlockPasses, ...]:
    """Sweeps over all T - 1 patches that others follow: at most `most`, and never more than T - 1."""
    count = min(tokens - 1, tokens - 1 if most is None else most)
    return (BlockPasses(tokens - 1, 0, count, exact=False),) if count > 0 else ()
