"""Robustness of a protection: what is left after each purifier; stored and read again.

`robustness.json` in the run's folder:

    {"tuner", "model", "prompt", "pictures", "rows": [{"purifier", "share", "clean": [...], "protected": [...]}, ...]}
"""

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
from intaglio.protect.purifiers import Purifier
from intaglio.runs.plain import to_json
from intaglio.runs.read import load_result
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv

FILE = "robustness.json"
COLUMNS = ["purifier", "share", "clean", "protected", "net", "spread", "survives"]


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

    @property
    def rows_by_net(self) -> list[NetProtection]:
        """The worst first."""
        return sorted(self.found, key=lambda one: (-one.share, one.net))

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences, led by the worst purifier."""
        least = worst(self.found)
        plain = next((one for one in self.found if one.purifier == "none" and one.share == least.share), None)
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
            }
            for one in self.rows_by_net
        ]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=COLUMNS)

    def figures(self) -> dict[str, Any]:
        """The worst purifier first, and what is there without any."""
        least = worst(self.found)
        plain = next((one for one in self.found if one.purifier == "none" and one.share == least.share), None)
        return {
            "worst_purifier": least.purifier,
            "net_protection_worst": least.net,
            "net_protection_none": None if plain is None else plain.net,
            "survives": least.survives,
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
            )
            for one in stored["rows"]
        )
        return cls(str(stored["tuner"]), str(stored["model"]), str(stored["prompt"]), int(stored["pictures"]), rows)


def evaluate(
    imitator: Imitator,
    originals: ImageSet,
    protected: Float[Tensor, "n 3 h w"],
    purifiers: Sequence[Purifier],
    *,
    purifying_model: LatentDiffusion | None = None,
    shares: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    run: Run = Run.none(),
) -> Robustness:
    """The robustness of a protection; arguments as of `imitation.net_protection`."""
    found = net_protection(
        imitator, originals, protected, purifiers, purifying_model=purifying_model, shares=shares, seeds=seeds, run=run
    )
    return Robustness(imitator.tuner.name, imitator.model.name, imitator.prompt, len(originals), found)
