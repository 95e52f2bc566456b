"""Robustness of a protection: what is left after each purifier; stored and read again.

`robustness.json` in the run's folder:

    {"tuner", "model", "prompt", "similarity", "pictures", "seen": [purifier, ...],
     "rows": [{"purifier", "share", "clean": [...], "protected": [...], "membership": [[clean, protected], ...]}, ...]}
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.imitation import Imitator, NetProtection, net_protection, worst
from intaglio.protect.purify.family import Purifier
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv

FILE = "robustness.json"
IMITATES = 0.5
"""Likeness that fine-tunes on clean pictures must reach, so that there is something to spoil."""
FOUND = 0.6
"""AUC that an audit must reach on fine-tunes of clean pictures, so that there is something to hide."""
COLUMNS = ["purifier", "share", "clean", "protected", "net", "spread", "survives", "trained_on"]


@dataclass(frozen=True)
class Robustness:
    """Robustness of a protection: the net protection that each purifier leaves."""

    tuner: str
    """Name of the way of fine-tuning."""
    model: str
    """Name of the imitator's base."""
    prompt: str
    pictures: int
    found: tuple[NetProtection, ...]
    """One a purifier and share."""
    similarity: str = "embedded"
    """Name of the measure of likeness."""
    seen: tuple[str, ...] = ()
    """Purifiers that the change was trained to survive; the verdict rests on the others."""

    @property
    def worst(self) -> NetProtection:
        """The purifier that leaves least, of those that were not trained on where there are any."""
        return worst(self.found, self.seen)

    @property
    def plain(self) -> NetProtection | None:
        """Without a purifier, at the largest share; None where that was not measured."""
        share = max(one.share for one in self.found)
        return next((one for one in self.found if one.purifier == "none" and one.share == share), None)

    @property
    def rows_by_net(self) -> list[NetProtection]:
        """The worst first."""
        return sorted(self.found, key=lambda one: (-one.share, one.net))

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences, led by the worst purifier."""
        least, plain = self.worst, self.plain
        if (imitated := 1 - statistics.fmean((plain or least).clean)) < IMITATES:
            return (
                f"There is no verdict: fine-tunes on clean pictures already imitate badly (likeness {imitated:.2f}), "
                "so that there is little to spoil; raise --tuning-steps or --tuning-rate."
            )
        if not self.judged:
            return (
                f"There is no verdict from one seed; after {least.purifier} it left {least.net:+.3f} of unlikeness. "
                "Raise --seeds."
            )
        if plain is not None and not plain.survives:
            return (
                f"The protection does not protect here even without a purifier: {plain.net:+.3f} of unlikeness "
                f"({plain.spread:.3f} over {len(plain.clean)} seeds)."
            )
        if not least.survives:
            return (
                f"The protection does not survive: after {least.purifier} {least.net:+.3f} of unlikeness is left "
                f"({least.spread:.3f} over {len(least.clean)} seeds), which whoever cleans the pictures so gets round."
            )
        return (
            f"The protection survives every purifier that was tried; {least.purifier} leaves least, {least.net:+.3f} "
            f"of unlikeness ({least.spread:.3f} over {len(least.clean)} seeds). Others may leave less."
        )

    @property
    def judged(self) -> bool:
        """Whether there are enough seeds, and good enough imitations of clean pictures, for a verdict."""
        one = self.plain or self.worst
        return len(one.clean) > 1 and 1 - statistics.fmean(one.clean) >= IMITATES

    @property
    def membership(self) -> tuple[float, float] | tuple[None, None]:
        """Mean AUC of an audit for the originals, in fine-tunes on clean and on protected pictures without a purifier,
        or after the worst one where none was left out; (None, None) where it was not asked for.
        """
        pairs = (self.plain or self.worst).membership
        if not pairs:
            return None, None
        return statistics.fmean(one for one, _ in pairs), statistics.fmean(other for _, other in pairs)

    @property
    def about_membership(self) -> str | None:
        """Whether the protection also hides the pictures from an audit, in a sentence; None where nobody asked."""
        clean, protected = self.membership
        if clean is None or protected is None:
            return None
        if clean < FOUND:
            return f"An audit does not find the originals even in fine-tunes on clean pictures (AUC {clean:.2f})."
        hides = "hides" if protected < (clean + 0.5) / 2 else "does not hide"
        return (
            f"An audit tells the originals from pictures nobody trained on with an AUC of {protected:.2f} in "
            f"fine-tunes on protected pictures, and of {clean:.2f} in those on clean ones: the protection {hides} "
            "membership."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a purifier and share, the worst first; the keys are `COLUMNS`, means over seeds."""
        return [
            {
                "purifier": one.purifier,
                "share": one.share,
                "clean": sum(one.clean) / len(one.clean),
                "protected": sum(one.protected) / len(one.protected),
                "net": one.net,
                "spread": one.spread,
                "survives": one.survives,
                "trained_on": one.purifier in self.seen,
            }
            for one in self.rows_by_net
        ]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=COLUMNS)

    def figures(self) -> dict[str, Any]:
        """The worst purifier first, and what is there without any."""
        least, plain = self.worst, self.plain
        clean, protected = self.membership
        return {
            "worst_purifier": least.purifier,
            "net_protection_worst": least.net,
            "net_protection_none": None if plain is None else plain.net,
            "survives": least.survives if self.judged else None,
            "membership_clean": clean,
            "membership_protected": protected,
            "statement": self.statement,
            "pictures": self.pictures,
        }

    def save(self, folder: Path) -> None:
        """Writes `purifiers.csv` and `robustness.json`, each atomically."""
        atomic_write(folder / "purifiers.csv", rows_csv(self.rows(), COLUMNS))
        stored = {
            "tuner": self.tuner,
            "model": self.model,
            "prompt": self.prompt,
            "similarity": self.similarity,
            "seen": list(self.seen),
            "pictures": self.pictures,
            "rows": [asdict(one) for one in self.found],
        }
        atomic_write(folder / FILE, to_json(stored, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Robustness | None":
        """The result stored in a run's folder; None where there is none (another verb, or not finished).

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "evaluation")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Robustness":
        """The result in the content of `robustness.json`."""
        rows = tuple(
            NetProtection(
                str(one["purifier"]),
                float(one["share"]),
                tuple(map(float, one["clean"])),
                tuple(map(float, one["protected"])),
                tuple((float(a), float(b)) for a, b in one.get("membership", ())),
            )
            for one in stored["rows"]
        )
        return cls(
            tuner=str(stored["tuner"]),
            model=str(stored["model"]),
            prompt=str(stored["prompt"]),
            pictures=int(stored["pictures"]),
            found=rows,
            similarity=str(stored.get("similarity", "embedded")),
            seen=tuple(map(str, stored.get("seen", ()))),
        )


def evaluate(
    imitator: Imitator,
    originals: ImageSet,
    protected: Float[Tensor, "n 3 h w"],
    purifiers: Sequence[Purifier],
    *,
    purifying_model: LatentDiffusion | None = None,
    shares: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    seen: Sequence[str] = (),
    run: Run = Run.none(),
) -> Robustness:
    """The robustness of a protection; arguments as of `imitation.net_protection`.

    `seen` names purifiers that the change was trained to survive (`transformations.seen_purifiers`).
    """
    found = net_protection(
        imitator, originals, protected, purifiers, purifying_model=purifying_model, shares=shares, seeds=seeds, run=run
    )
    about = (imitator.tuner.name, imitator.model.name, imitator.prompt, len(originals))
    return Robustness(*about, found, imitator.similarity.name, tuple(seen))
