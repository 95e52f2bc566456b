"""The result of an attribution: for each picture the probability and the p-value of each source; stored and read again.

`attribution.json` in the run's folder:

    {"method", "reading", "rate", "sources": [{"name", "pictures", "own", "other", "none", "several"}, ...],
     "held_accuracy", "fitted", "pictures": [{"name", "hash", "seen", "knownness", "log_posterior": [float, ...],
     "p": [float, ...], "picture": path relative to the folder or null}, ...]}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.attribution.source_p_values import NONE_FITS, fits, only_fit
from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.metrics.statistics.conformal import clopper_pearson, needed_controls
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.tables import rows_csv

FILE = "attribution.json"
COUNTS = ("pictures", "own", "other", "none", "several")


@dataclass(frozen=True, eq=False)
class SourceScores:
    """The attribution of n pictures, with K sources."""

    method: str
    reading: str
    """The trace that the method looks at, as the end of a sentence."""
    sources: tuple[str, ...]
    rate: float
    """Share of a source's pictures that may be attributed to another, at most; in (0, 1)."""
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    log_posterior: Float[Tensor, "n K"]
    """Natural logarithm of the probability of each source, given that it is one of them; float64."""
    knownness: Float[Tensor, "n"]
    """Likeness of a picture to those of the sources at all; compares within one fit alone."""
    p: Float[Tensor, "n K"]
    """Conformal p-value of each source, in (0, 1]: small where the picture is unusual among its held-out ones."""
    held: tuple[Mapping[str, int], ...]
    """Of the held-out pictures of each source, each judged as if it were new: all of them, and how many are attributed
    to it, to another, to none and to several."""
    held_accuracy: float
    """Share of held-out pictures whose most probable source is their own, averaged over sources."""
    fitted: str
    """Hash of the fit."""
    seen: tuple[bool, ...]
    """Whether a picture is one of those that the sources were fitted to; its p-values then mean nothing."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Paths of stored pictures, relative to the run's folder, by name."""

    @property
    def verdicts(self) -> list[int]:
        """The place of the only source that fits each picture; -1 where none fits, -2 where several do."""
        return only_fit(fits(self.p, self.rate)).tolist()

    def fitting(self, picture: int) -> list[str]:
        """The sources that fit a picture."""
        return [name for name, fit in zip(self.sources, fits(self.p, self.rate)[picture].tolist(), strict=True) if fit]

    def verdict(self, picture: int) -> str:
        """The verdict of a picture in words."""
        found = self.verdicts[picture]
        if found >= 0:
            return self.sources[found]
        return "none of these" if found == NONE_FITS else f"undecided: {', '.join(self.fitting(picture))}"

    @property
    def too_few(self) -> tuple[str, ...]:
        """Sources whose held-out pictures are too few to be ruled out at the rate."""
        needed = needed_controls(self.rate, "both")  # as two numbers count
        return tuple(name for name, row in zip(self.sources, self.held, strict=True) if row["pictures"] < needed)

    @property
    def without_verdict(self) -> bool:
        """Whether no picture can be attributed: two sources or more are never ruled out, so that both always fit."""
        return len(self.too_few) > 1

    @property
    def held_false(self) -> tuple[int, int]:
        """Held-out pictures attributed to another source than their own, and all of them."""
        return sum(row["other"] for row in self.held), sum(row["pictures"] for row in self.held)

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        verdicts, count = self.verdicts, len(self.names)
        by_source = {name: verdicts.count(k) for k, name in enumerate(self.sources) if verdicts.count(k)}
        named = sum(by_source.values())
        of_each = f" ({', '.join(f'{name} {number}' for name, number in by_source.items())})" if by_source else ""
        said = f"{named} of {count} {'picture' if count == 1 else 'pictures'} attributed to one source{of_each}; "
        said += f"{verdicts.count(NONE_FITS)} to none of these, {count - named - verdicts.count(NONE_FITS)} undecided. "
        if self.without_verdict:
            needed = needed_controls(self.rate, "both")
            return said + (
                f"No picture can be attributed: {' and '.join(self.too_few[:2])} have fewer held-out pictures than the "
                f"{needed} that a rate of {self.rate:.2g} needs."
            )
        wrong, held = self.held_false
        return (
            said + f"Of {held} held-out pictures of the sources {wrong} would be attributed to another than their own."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture: picture, verdict, seen, knownness, then probability and p of each source."""
        return [
            {
                "picture": name,
                "verdict": self.verdict(i),
                "seen": self.seen[i],
                "knownness": float(self.knownness[i]),
                **{f"probability {one}": float(self.log_posterior[i, k].exp()) for k, one in enumerate(self.sources)},
                **{f"p {one}": float(self.p[i, k]) for k, one in enumerate(self.sources)},
            }
            for i, name in enumerate(self.names)
        ]

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row a picture."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows()).set_index("picture")

    def figures(self) -> dict[str, Any]:
        """Counts of verdicts, and the held-out pictures' rates with 95% intervals."""
        verdicts, (wrong, held) = self.verdicts, self.held_false
        return {
            "statement": self.statement,
            "pictures": len(self.names),
            "attributed": sum(verdict >= 0 for verdict in verdicts),
            "none": verdicts.count(NONE_FITS),
            "by_source": {name: verdicts.count(k) for k, name in enumerate(self.sources)},
            "held_out": held,
            "held_out_accuracy": self.held_accuracy,
            "held_out_false": wrong / held,
            "held_out_false_interval": clopper_pearson(wrong, held),
        }

    def _repr_html_(self) -> str:
        """Counts and the pictures' rows, for notebooks."""
        return result_html(f"Attribution by {self.method}", self.figures(), self.rows())

    def save(self, folder: Path) -> None:
        """Writes `attribution.csv`, a row a picture, and `attribution.json`, each atomically."""
        rows = self.rows()
        atomic_write(Path(folder) / "attribution.csv", rows_csv(rows, list(rows[0])))
        atomic_write(Path(folder) / FILE, to_json(self.to_dict()) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "SourceScores | None":
        """The result stored in a run's folder; None where there is none.

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "audit")

    def to_dict(self) -> dict[str, Any]:
        """The content of `attribution.json`."""
        return {
            "method": self.method,
            "reading": self.reading,
            "rate": self.rate,
            "sources": [{"name": name, **row} for name, row in zip(self.sources, self.held, strict=True)],
            "held_accuracy": self.held_accuracy,
            "fitted": self.fitted,
            "pictures": [
                {
                    "name": name,
                    "hash": self.hashes[i],
                    "seen": self.seen[i],
                    "knownness": float(self.knownness[i]),
                    "log_posterior": self.log_posterior[i].tolist(),
                    "p": self.p[i].tolist(),
                    "picture": self.pictures.get(name),
                }
                for i, name in enumerate(self.names)
            ],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "SourceScores":
        """The inverse of `to_dict`. Raises `ValueError` for numbers that are not as many as the sources."""
        sources, pictures = stored["sources"], stored["pictures"]
        posterior, p = (
            torch.tensor([[float(value) for value in row[key]] for row in pictures], dtype=torch.float64)
            for key in ("log_posterior", "p")
        )
        if {tuple(posterior.shape), tuple(p.shape)} != {(len(pictures), len(sources))}:
            raise ValueError(f"{len(pictures)} pictures and {len(sources)} sources have numbers of another shape")
        return cls(
            method=str(stored["method"]),
            reading=str(stored["reading"]),
            sources=tuple(str(row["name"]) for row in sources),
            rate=float(stored["rate"]),
            names=tuple(str(row["name"]) for row in pictures),
            hashes=tuple(str(row["hash"]) for row in pictures),
            log_posterior=posterior,
            knownness=torch.tensor([float(row["knownness"]) for row in pictures], dtype=torch.float64),
            p=p,
            held=tuple({key: int(row[key]) for key in COUNTS} for row in sources),
            held_accuracy=float(stored["held_accuracy"]),
            fitted=str(stored["fitted"]),
            seen=tuple(bool(row["seen"]) for row in pictures),
            pictures={str(row["name"]): str(row["picture"]) for row in pictures if row["picture"] is not None},
        )
