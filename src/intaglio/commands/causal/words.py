"""Parsing of flags about columns: `month=nominal`, `rain->wet`, `age,sex;smoking`."""

from collections.abc import Sequence

from intaglio.commands.kit.parsing import nearest
from intaglio.errors import BadInput

ARROW = "->"


def kinds_from(words: Sequence[str]) -> dict[str, str]:
    """Kinds by column from words such as `month=nominal` or `mood=bad<ok<good`; `Table` checks names and kinds."""
    found = {}
    for word in words:
        # Levels may hold a =, such as >=30; otherwise a name may.
        name, sign, kind = word.partition("=") if "<" in word else word.rpartition("=")
        if not sign or not name:
            raise BadInput(f"--kinds takes COLUMN=KIND, such as month=nominal or mood=bad<ok<good, not {word!r}")
        if found.setdefault(name, kind) != kind:
            raise BadInput(f"--kinds names {name!r} twice, as {found[name]} and as {kind}; keep one of them")
    return found


def missing_from(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(column, code) pairs from words such as `age=-999`; the column is empty for a code of every column."""
    pairs = []
    for word in words:
        name, sign, code = word.rpartition("=")
        if not code.strip() or (sign and not name.strip()):
            raise BadInput(f"--missing takes a code such as -999, or COLUMN=CODE such as age=-999, not {word!r}")
        pairs.append((name.strip(), code.strip()))
    return tuple(pairs)


def pairs_from(words: Sequence[str], names: Sequence[str], flag: str) -> tuple[tuple[str, str], ...]:
    """(cause, effect) pairs from words such as `rain->wet`; a name may itself contain an arrow."""
    return tuple(_pair(word, names, flag) for word in words)


def _pair(word: str, names: Sequence[str], flag: str) -> tuple[str, str]:
    ends = word.replace("-->", ARROW).replace("→", ARROW) if word not in names else word
    positions = [k for k in range(len(ends)) if ends.startswith(ARROW, k)]
    if not positions:
        raise BadInput(f'{flag} takes arrows such as "rain->wet", not {word!r}; quote them, or the shell takes the >')
    found = [(ends[:k].strip(), ends[k + len(ARROW) :].strip()) for k in positions]
    for cause, effect in found:
        if cause in names and effect in names:
            return cause, effect
    missing = next(name for name in found[0] if name not in names)
    raise BadInput(f"{flag} {word}: there is no column {missing!r}; {nearest(missing, names)}")


def tiers_from(words: str) -> tuple[tuple[str, ...], ...]:
    """Tiers of columns, earliest first, from text such as `age,sex;smoking`."""
    groups = (tuple(name.strip() for name in group.split(",") if name.strip()) for group in words.split(";"))
    found = tuple(group for group in groups if group)
    if words and not found:
        raise BadInput(f"--tiers {words!r} names no column; give groups such as age,sex;smoking, or leave it out")
    return found
