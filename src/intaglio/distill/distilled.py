"""The result of a distillation: the student, and what it was made from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import intaglio
from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

MODEL, CARD = "model", "README.md"
"""Names in a result's folder: the student's weights, and the card."""


@dataclass(frozen=True, eq=False)
class Distilled:
    """A student, which samples as any other model, in the way that its `sampling` says."""

    model: LatentDiffusion
    method: str
    """Name of the method."""
    teacher: str
    """Name of the teacher."""
    fingerprint: str
    """Sha256 over the teacher's weights and settings."""
    settings: Mapping[str, Any]
    """Of the method."""
    data: str
    """What it was trained on, in words."""
    facts: Mapping[str, Any]
    """Plain figures of the training, by name."""

    def save(self, folder: Path) -> Path:
        """Writes the model, in diffusers' layout with `sampling.json`, and the card; returns the model's folder."""
        self.model.save(folder / MODEL)
        atomic_write(folder / CARD, self.card())
        return folder / MODEL

    def _repr_html_(self) -> str:
        """Figures of the training, for notebooks."""
        figures = {"teacher": self.teacher, "trained on": self.data, **self.facts}
        return result_html(f"A student by {self.method}", figures)

    def card(self) -> str:
        """Markdown with the front matter that model hubs read."""
        head = ["---", "tags:", "- text-to-image", f"- {self.method}", "---", "", f"# {self.model.name}", ""]
        facts = [f"- Teacher: {self.teacher} (fingerprint `{self.fingerprint}`)", f"- Trained on {self.data}"]
        facts += ["- Licence: inherits the teacher's", f"- Sampling: {self.model.sampling.words}"]
        facts += [f"- {name.replace('_', ' ').capitalize()}: {value}" for name, value in self.facts.items()]
        table = ["", "## Settings", "", f"`{self.method}` of intaglio {intaglio.__version__}", ""]
        table += ["| setting | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in self.settings.items())]
        return "\n".join([*head, *facts, *table, ""])


def distilled(
    model: LatentDiffusion, method: Any, teacher: LatentDiffusion, data: str, facts: Mapping[str, Any]
) -> Distilled:
    """The result of a method, a `Distiller`, on a teacher."""
    return Distilled(model, method.name, teacher.name, teacher.fingerprint, asdict(method), data, facts)
