"""The result of a merge: the model, and the models that it was made of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import intaglio
from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.merging.one_base import notes_of
from intaglio.shrink.merging.weight_places import relative_distance

if TYPE_CHECKING:
    import pandas as pd

MODEL, CARD = "model", "README.md"
"""Names in a result's folder: the model's weights, and the card."""


@dataclass(frozen=True, eq=False)
class Merged:
    """A model made of several, which samples as any other."""

    model: LatentDiffusion
    method: str
    """Name of the method."""
    settings: Mapping[str, Any]
    """Of the method."""
    rows: tuple[Mapping[str, Any], ...]
    """A row a model that was given: its name, fingerprint, and relative distance to the merged one; where there is a
    base also that to the base; and what the method tells of it."""
    base: Mapping[str, Any] | None
    """Name and fingerprint of the base, and its relative distance to the merged model; None where none was given."""
    notes: tuple[str, ...]
    """Sentences for the user."""

    def save(self, folder: Path) -> Path:
        """Writes the model, in diffusers' layout, and the card; returns the model's folder."""
        self.model.save(folder / MODEL)
        atomic_write(folder / CARD, self.card())
        return folder / MODEL

    def to_frame(self) -> "pd.DataFrame":
        """A pandas table of `rows`."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    def _repr_html_(self) -> str:
        """The models that went in, for notebooks."""
        return result_html(f"A model merged by {self.method}", {"notes": " ".join(self.notes) or None}, self.rows)

    def card(self) -> str:
        """Markdown with the front matter that model hubs read."""
        head = ["---", "tags:", "- text-to-image", "- merge", f"- {self.method}", "---", "", f"# {self.model.name}", ""]
        facts = [f"- Merged of {row['model']} (fingerprint `{row['fingerprint']}`)" for row in self.rows]
        if self.base is not None:
            facts.append(f"- Base: {self.base['model']} (fingerprint `{self.base['fingerprint']}`)")
        facts += ["- Licence: those of all of these models", *(f"- {note}" for note in self.notes), ""]
        names = list(dict.fromkeys(name for row in self.rows for name in row if name not in ("model", "fingerprint")))
        table = ["## Models", "", f"| model | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        table += [f"| {row['model']} | {' | '.join(_cell(row.get(name)) for name in names)} |" for row in self.rows]
        own = ["", "## Settings", "", f"`{self.method}` of intaglio {intaglio.__version__}", "", "| setting | value |"]
        own += ["|---|---|", *(f"| {key} | {value} |" for key, value in self.settings.items())]
        return "\n".join([*head, *facts, *table, *own, ""])


def merged_model(
    method: Any,
    model: LatentDiffusion,
    models: Sequence[LatentDiffusion],
    base: LatentDiffusion | None,
    told: Sequence[Mapping[str, Any]],
) -> Merged:
    """The result of a method, a `Merger`; `told` has what it tells of each model."""
    model.name = f"{method.name} of {', '.join(one.name for one in models)}"
    model.source, model.notes, model.unused = None, notes_of(models, base), ()
    rows = []
    for one, more in zip(models, told, strict=True):
        row = {"model": one.name, "fingerprint": one.fingerprint, **more}
        if base is not None:
            row["distance_to_base"] = relative_distance(one, base)[0]
        rows.append({**row, "distance_to_merged": relative_distance(one, model)[0]})
    start = None
    if base is not None:
        distance = relative_distance(base, model)[0]
        start = {"model": base.name, "fingerprint": base.fingerprint, "distance_to_merged": distance}
    return Merged(model, method.name, asdict(method), tuple(rows), start, model.notes)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
