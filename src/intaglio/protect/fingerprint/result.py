"""The results of marking pictures and of looking for marks: a row a picture; stored and read again.

`marked.json` and `detections.json` in the run's folder:

    {"method", "reading", "null", "key", "user", "folder", "pictures": [{"name", "saved", "prompt", "seed", "p", "bits",
     "psnr"}, ...]}
    {"method", "reading", "null", "key", "users", "seeds", "fpr", "pictures": [find, ...], "controls": [find, ...]}

    find = {"name", "p", "statistic", "user", "seed", "bits", "rivals"}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.files import atomic_write
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv, without_nan

MARKED, DETECTED = "marked.json", "detections.json"
MARKED_COLUMNS = ["name", "saved", "prompt", "seed", "p", "bits", "psnr"]
DETECTED_COLUMNS = ["name", "called", "p", "user", "rivals", "seed", "bits", "statistic"]
WEAK = 1e-3
"""A marked picture whose mark is read back with a larger p is told of."""
OF_WHAT = {
    "key": "keys drawn at random agree so with such a picture",
    "noise": "readings of unit noise come so near to such a mark",
}
"""The share that a p-value is, in words, by the mark's `null`."""


@dataclass(frozen=True)
class MarkedPicture:
    """One picture with its mark, as it was read back from its file."""

    name: str
    """Path of the original below its folder, or the drawn picture's own."""
    saved: str
    """Path below the folder it was written into."""
    p: float
    """Chance of so good an agreement without the mark."""
    bits: float | None = None
    """Share of the message's bits that are read right; None for marks without a message."""
    psnr: float | None = None
    """Peak signal-to-noise ratio to the original, dB; None for a drawn picture, and where nothing changed."""
    prompt: str | None = None
    seed: int | None = None
    """Of a drawn picture."""


@dataclass(frozen=True)
class MarkedPictures(ResultTable):
    """Pictures of one user's mark."""

    method: str
    """The mark's name, such as `tree-ring`."""
    reading: str
    """What carries the mark, in words."""
    null: str
    """The law of the p-values; a key of `OF_WHAT`."""
    key: str
    """Hash of the key."""
    user: int
    folder: Path
    """Folder of the marked pictures."""
    pictures: tuple[MarkedPicture, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Marks by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return MARKED_COLUMNS

    @property
    def weak(self) -> tuple[str, ...]:
        """Names of the pictures whose mark is hardly read back, or not at all."""
        return tuple(one.name for one in self.pictures if one.p > WEAK)

    @property
    def statement(self) -> str:
        """The outcome in a sentence or two."""
        count, worst = len(self.pictures), max(one.p for one in self.pictures)
        said = (
            f"{count} {'picture is' if count == 1 else 'pictures are'} marked for user {self.user}; read back from the "
            f"files, at most {chance(worst)} of {OF_WHAT[self.null]}."
        )
        if not self.weak:
            return said
        return f"{said} In {len(self.weak)} of them the mark is hardly read (p above {WEAK:g}): {few(self.weak)}."

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture; the keys are `MARKED_COLUMNS`."""
        return [{column: getattr(one, column) for column in MARKED_COLUMNS} for one in self.pictures]

    def figures(self) -> dict[str, Any]:
        """Counts, the largest p, and means over pictures."""
        return {
            "statement": self.statement,
            "pictures": len(self.pictures),
            "user": self.user,
            "largest_p": max(one.p for one in self.pictures),
            "weak": len(self.weak),
            "bits": _mean([one.bits for one in self.pictures]),
            "psnr": _mean([one.psnr for one in self.pictures]),
            "folder": str(self.folder),
        }

    def _thumbnails(self) -> "list[tuple[str, Any]]":
        return [(one.saved, file) for one in self.pictures if (file := self.folder / one.saved).is_file()]

    def save(self, folder: Path) -> None:
        """Writes `marked.csv` and `marked.json`, each atomically."""
        atomic_write(folder / "marked.csv", rows_csv(self.rows(), MARKED_COLUMNS))
        stored = {**asdict(self), "folder": str(self.folder)}
        atomic_write(folder / MARKED, to_json(without_nan(stored), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "MarkedPictures | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / MARKED, cls.from_dict, "marking")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "MarkedPictures":
        """The result in the content of `marked.json`."""
        pictures = tuple(
            MarkedPicture(
                name=str(one["name"]),
                saved=str(one["saved"]),
                p=float(one["p"]),
                bits=_number(one["bits"]),
                psnr=_number(one["psnr"]),
                prompt=None if one["prompt"] is None else str(one["prompt"]),
                seed=None if one["seed"] is None else int(one["seed"]),
            )
            for one in stored["pictures"]
        )
        return cls(*_about(stored), int(stored["user"]), Path(stored["folder"]), pictures)


@dataclass(frozen=True)
class FoundMark:
    """The likeliest user's mark in one picture."""

    name: str
    p: float
    """Chance that any of the users and seeds that were tried agrees so well without the mark."""
    statistic: float
    """What p is the chance of: right bits, or a distance."""
    user: int
    """The likeliest user; the first where several are equally likely."""
    seed: int | None = None
    """Of the drawing, for marks with nonces."""
    bits: float | None = None
    """Share of the message's bits that are read right; None for marks without a message."""
    rivals: int = 0
    """Users that are as likely as this one, such as those that share its message."""

    @property
    def owner(self) -> str:
        """The user in words, with the number of those that are as likely."""
        return f"{self.user}" + (f" or {self.rivals} other{'s' * (self.rivals > 1)}" if self.rivals else "")


@dataclass(frozen=True)
class MarkDetections(ResultTable):
    """Pictures in which a key's marks were looked for."""

    method: str
    """The mark's name, such as `tree-ring`."""
    reading: str
    """What carries the mark, in words."""
    null: str
    """The law of the p-values; a key of `OF_WHAT`."""
    key: str
    """Hash of the key."""
    users: int
    """Users 0, 1, ... that were tried."""
    seeds: int
    """Seeds that were tried of each picture; 1 for marks without nonces."""
    fpr: float
    """False-positive rate asked for, in (0, 1)."""
    pictures: tuple[FoundMark, ...]
    controls: tuple[FoundMark, ...] = ()
    """The same of pictures that certainly carry no mark."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Marks of {self.method}, looked for"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return DETECTED_COLUMNS

    def called(self, one: FoundMark) -> bool:
        """Whether a picture is said to carry the mark."""
        return one.p <= self.fpr

    @property
    def ranked(self) -> list[FoundMark]:
        """The pictures, smallest p first."""
        return sorted(self.pictures, key=lambda one: (one.p, one.name))

    @property
    def realised(self) -> tuple[int, tuple[float, float]] | None:
        """Controls that were called, and the 95% Clopper-Pearson interval of their share; None without controls."""
        calls = sum(map(self.called, self.controls))
        interval = clopper_pearson(calls, len(self.controls))
        return None if interval is None else (calls, interval)

    @property
    def statement(self) -> str:
        """The outcome in one sentence, and one on the controls where there are any."""
        calls, count = sum(map(self.called, self.pictures)), len(self.pictures)
        said = f"{calls or 'None'} of {count} {'picture' if count == 1 else 'pictures'} called marked"
        tried = f"{self.users} {'user' if self.users == 1 else 'users'}"
        tried += f" and {self.seeds} seeds" if self.seeds > 1 else ""
        said += f", where at most {chance(self.fpr)} of {OF_WHAT[self.null]} ({tried} tried)."
        if self.realised is None:
            return said
        falsely, (low, high) = self.realised
        found = (
            f"{falsely} of {len(self.controls)} controls were called (95% interval of the rate {low:.2%} to {high:.2%})"
        )
        if low > self.fpr:
            return f"{said} That does not hold for pictures like the controls: {found}."
        return f"{said} {found[0].upper()}{found[1:]}."

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture, smallest p first; the keys are `DETECTED_COLUMNS`."""
        return [{**asdict(one), "called": self.called(one)} for one in self.ranked]

    def figures(self) -> dict[str, Any]:
        """Counts, and what the controls say."""
        calls, interval = (None, None) if self.realised is None else self.realised
        return {
            "statement": self.statement,
            "pictures": len(self.pictures),
            "called": sum(map(self.called, self.pictures)),
            "users_called": sorted({one.user for one in self.pictures if self.called(one)}),
            "controls": len(self.controls),
            "controls_called": calls,
            "controls_interval": interval,
        }

    def save(self, folder: Path) -> None:
        """Writes `detections.csv`, ranked, and `detections.json`, each atomically."""
        atomic_write(folder / "detections.csv", rows_csv(self.rows(), DETECTED_COLUMNS))
        atomic_write(folder / DETECTED, to_json(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "MarkDetections | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / DETECTED, cls.from_dict, "detection")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "MarkDetections":
        """The result in the content of `detections.json`."""
        pictures, controls = (tuple(map(_find, stored[name])) for name in ("pictures", "controls"))
        users, seeds, fpr = int(stored["users"]), int(stored["seeds"]), float(stored["fpr"])
        return cls(*_about(stored), users, seeds, fpr, pictures, controls)


def chance(p: float) -> str:
    """A chance in words: percent down to 0.01 %, else one in a power of ten."""
    if p <= 0:
        return "one in 10^300"
    return f"{p:.2%}" if p >= 1e-4 else f"{p:.2g}"


def few(names: tuple[str, ...], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _about(stored: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Method, reading, null and key. Raises `KeyError` for a law that is not known."""
    if stored["null"] not in OF_WHAT:
        raise KeyError(str(stored["null"]))
    return str(stored["method"]), str(stored["reading"]), str(stored["null"]), str(stored["key"])


def _find(one: Mapping[str, Any]) -> FoundMark:
    return FoundMark(
        name=str(one["name"]),
        p=float(one["p"]),
        statistic=float(one["statistic"]),
        user=int(one["user"]),
        seed=None if one["seed"] is None else int(one["seed"]),
        bits=_number(one["bits"]),
        rivals=int(one["rivals"]),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
