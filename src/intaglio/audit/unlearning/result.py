"""The result of an unlearning: the model, and the record of how it was made and what is left, stored and read again.

`unlearned.json` in the run's folder, beside `model/`:

    {"method", "reading", "settings": {name: value}, "original", "fingerprint", "changed", "facts": {name: number},
     "concept": {"prompts", "anchors", "keep"}, "forgotten", "pictures", "rows": [{"prompt",
     "part": "concept" | "keep" | "forget" | "retain", "evidence_before", "evidence_after", "loss_before",
     "loss_after"}, ...]}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import intaglio
from intaglio.audit.unlearning.concept import Concept
from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result

KEPT_SHARE = 0.5
"""Share of the evidence from which on a concept is said to be left."""
FILE, MODEL, CARD = "unlearned.json", "model", "README.md"
"""Names in a result's folder: the record, the model's weights, the card."""
LEFT_PROMPTS = "- Prompts may be left by which the concept is still drawn; `intaglio audit unlearn-attack` looks"
LEFT_PICTURES = "- Traces of the pictures may be left; `intaglio authenticate` looks"
"""Last lines of a card's facts."""
NUMBERS = ("evidence_before", "evidence_after", "loss_before", "loss_after")
"""Figures of a row."""


@dataclass(frozen=True)
class UnlearningRecord:
    """All that there is to say of an unlearned model but its weights."""

    method: str
    """The method's name, such as `uce`."""
    reading: str
    """How the concept was unlearned, as the end of a sentence."""
    settings: Mapping[str, Any]
    """Of the method."""
    original: str
    """Name of the model that knew the concept."""
    fingerprint: str
    """Sha256 over that model's weights and settings."""
    changed: str
    """Sha256 over the new model's."""
    concept: Concept
    facts: Mapping[str, Any]
    """Plain figures of the method's own, by name."""
    rows: tuple[Mapping[str, Any], ...] = ()
    """A row a prompt, of the concept and kept ones, once the models were compared: the evidence of the prompt, which is
    how much lower the denoising loss of its pictures is under it than under its anchor, for a kept one than under the
    empty prompt, and that loss, each before and after. Where pictures are forgotten, a row a given picture, with its
    caption against the empty prompt; parts `forget` and `retain`."""
    pictures: int = 0
    """Pictures of each prompt that the figures are means over."""
    forgotten: int = 0
    """Given pictures that were forgotten; 0 where it was a concept."""

    def mean_of(self, part: str, number: str) -> float | None:
        """Mean of a figure over the rows of a part; None where there is none."""
        found = [float(row[number]) for row in self.rows if row["part"] == part]
        return mean(found) if found else None

    def share_left(self, part: str) -> float | None:
        """Mean evidence of a part after over before; None where there was none before."""
        before, after = (self.mean_of(part, f"evidence_{when}") for when in ("before", "after"))
        return None if before is None or after is None or before <= 0 else after / before

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        if self.forgotten:
            return self._of_pictures
        words = ", ".join(f"“{one}”" for one in self.concept.prompts[:3])
        more = len(self.concept.prompts) - 3
        said = f"{words}{f' and {more} more' if more > 0 else ''}, edited by {self.method}"
        if not self.rows:
            return f"{said}."
        for part, name in (("concept", "the concept’s prompts"), ("keep", "kept prompts")):
            before, after = (self.mean_of(part, f"evidence_{when}") for when in ("before", "after"))
            if before is not None and after is not None:
                said += f"; the evidence of {name} went from {before:.3g} to {after:.3g}"
        share = self.share_left("concept")
        if share is not None and share >= KEPT_SHARE:
            return f"{said}. Much of the concept is left; its evidence should fall to nothing."
        return f"{said}."

    @property
    def _of_pictures(self) -> str:
        """The outcome where pictures were forgotten."""
        said = f"{self.forgotten} picture{'s' if self.forgotten > 1 else ''}, taken out by {self.method}"
        for part, name in (("forget", "these"), ("retain", "those that stay")):
            before, after = (self.mean_of(part, f"loss_{when}") for when in ("before", "after"))
            if before is not None and after is not None:
                said += f"; the mean denoising loss of {name} went from {before:.3g} to {after:.3g}"
        return f"{said}."

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(list(self.rows), columns=["prompt", "part", *NUMBERS])

    def figures(self) -> dict[str, Any]:
        """The statement, and mean evidence and loss of each part, before and after."""
        told = {
            f"{part}_{number}": self.mean_of(part, number)
            for part in ("concept", "keep", "forget", "retain")
            for number in NUMBERS
            if self.mean_of(part, number) is not None
        }
        about = {"forgotten": self.forgotten} if self.forgotten else {"prompts": len(self.concept.prompts)}
        return {"statement": self.statement, **about, **told, **self.facts}

    def _repr_html_(self) -> str:
        """Figures and rows, for notebooks."""
        return result_html(f"Unlearning by {self.method}", self.figures(), self.rows)

    def save(self, folder: Path) -> None:
        """Writes `unlearned.json`, atomically."""
        atomic_write(Path(folder) / FILE, to_json(self.to_dict()) + "\n")

    @staticmethod
    def load(folder: Path) -> "UnlearningRecord | None":
        """The record in a run's folder; None where there is none. Raises `BadInput` for a damaged one."""
        return load_result(Path(folder) / FILE, UnlearningRecord.from_dict, "unlearning")

    def to_dict(self) -> dict[str, Any]:
        """Plain values; see the module."""
        return {**asdict(self), "rows": [dict(row) for row in self.rows]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "UnlearningRecord":
        """The inverse of `to_dict`."""
        parts = {name: tuple(str(one) for one in stored["concept"][name]) for name in ("prompts", "anchors", "keep")}
        rows = tuple(
            {"prompt": str(row["prompt"]), "part": str(row["part"]), **{name: float(row[name]) for name in NUMBERS}}
            for row in stored["rows"]
        )
        return cls(
            method=str(stored["method"]),
            reading=str(stored["reading"]),
            settings=dict(stored["settings"]),
            original=str(stored["original"]),
            fingerprint=str(stored["fingerprint"]),
            changed=str(stored["changed"]),
            concept=Concept(**parts),
            facts=dict(stored["facts"]),
            rows=rows,
            pictures=int(stored["pictures"]),
            forgotten=int(stored.get("forgotten", 0)),
        )


@dataclass(frozen=True, eq=False)
class Unlearned:
    """A model without a concept, which samples as any other, and its record."""

    model: LatentDiffusion
    record: UnlearningRecord

    def save(self, folder: Path) -> Path:
        """Writes the model, in diffusers' layout, the record and the card; returns the model's folder."""
        self.model.save(Path(folder) / MODEL)
        self.record.save(folder)
        atomic_write(Path(folder) / CARD, self.card())
        return Path(folder) / MODEL

    def _repr_html_(self) -> str:
        """That of the record, for notebooks."""
        return self.record._repr_html_()

    def card(self) -> str:
        """Markdown with the front matter that model hubs read."""
        record = self.record
        head = ["---", "tags:", "- text-to-image", "- unlearning", f"- {record.method}", "---", ""]
        head += [f"# {self.model.name}", ""]
        facts = [f"- Made from: {record.original} (fingerprint `{record.fingerprint}`)"]
        if not record.forgotten:
            facts += [f"- Unlearned: {one!r}, in its place {anchor!r}" for one, anchor in record.concept.pairs]
        facts += ["- Licence: inherits the original's", f"- {record.statement}"]
        facts += [LEFT_PICTURES if record.forgotten else LEFT_PROMPTS]
        table = ["", "## Settings", "", f"`{record.method}` of intaglio {intaglio.__version__}", ""]
        table += ["| setting | value |", "|---|---|", *(f"| {key} | {v} |" for key, v in record.settings.items())]
        return "\n".join([*head, *facts, *table, ""])
