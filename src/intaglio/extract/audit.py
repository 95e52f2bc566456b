"""An extraction with all that says how far it can be trusted, and its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import BadInput
from intaglio.extract.evaluation import Evaluation, evaluate
from intaglio.extract.family import COLUMNS, Extraction, Extractor
from intaglio.extract.null import Control, control
from intaglio.extract.settings import Drawing
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain import to_json
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv, without_nan

FILE = "extraction.json"


@dataclass(frozen=True, eq=False)
class Examination:
    """What was extracted, beside what the base alone gives and, where it is known, the training set."""

    extraction: Extraction
    control: Control | None
    evaluation: Evaluation | None
    training: ImageSet | None
    fdr: float
    """The false-discovery rate asked for."""

    @property
    def q_values(self) -> Float[ndarray, "n"] | None:
        """Of each find; None without a control."""
        return None if self.control is None else self.control.q_values(self.extraction)

    @property
    def told(self) -> int | None:
        """How many finds can be reported at the rate asked for; None without a control."""
        return None if self.q_values is None else int((self.q_values <= self.fdr).sum())

    @property
    def statement(self) -> str:
        """What was found, in a sentence."""
        count = len(self.extraction.finds)
        if not count:
            return "No group of alike pictures was drawn; nothing is returned."
        if self.control is None or self.q_values is None:
            return f"{count} pictures are returned; without the base's control nobody can say how many by chance."
        if self.told:
            return (
                f"{self.told} of {count} returned pictures stand out from what the base draws by itself, at a "
                f"false-discovery rate of at most {self.fdr:g}."
            )
        return (
            f"None of {count} returned pictures can be told from what the base draws by itself at a false-discovery "
            f"rate of {self.fdr:g}; the lowest reached is {float(self.q_values.min()):.2g}."
        )

    def write(self, run: Run) -> None:
        """Stores the pictures, `finds.csv` and `extraction.json` in a run's folder."""
        for warning in self.extraction.warnings:
            run.warn(warning)
        record = self.to_dict(run)
        if run.folder is None:
            return
        rows = [{**find, "members": ""} for find in record["finds"]]
        atomic_write(run.folder / "finds.csv", rows_csv([{k: row.get(k) for k in CSV} for row in rows], CSV))
        atomic_write(run.folder / FILE, to_json(without_nan(record), indent=1) + "\n")

    def to_dict(self, run: Run) -> dict[str, Any]:
        """The content of `extraction.json`; stores the pictures it names."""
        found, evaluation = self.extraction, self.evaluation
        return {
            **found.figures(),
            "statement": self.statement,
            "fdr": self.fdr,
            "told": self.told,
            "finds": [self._find(run, place) for place in range(len(found.finds))],
            "control": None if self.control is None else _control(run, self.control),
            "scores": found.scores.tolist(),
            "evaluation": None if evaluation is None else _evaluation(evaluation),
        }

    def _find(self, run: Run, place: int) -> dict[str, Any]:
        found, evaluation = self.extraction, self.evaluation
        name = found.pictures.names[place]
        entry = {**found.rows()[place], "members": list(found.finds[place].members)}
        entry["q_value"] = None if self.q_values is None else float(self.q_values[place])
        entry["image"] = run.save_image(f"finds/{name.removesuffix('.png')}", found.pictures.pixels[place])
        if evaluation is None or self.training is None:
            return entry
        nearest = evaluation.nearest[place]
        pixels = self.training.pixels[self.training.names.index(nearest)]
        return {
            **entry,
            "nearest": nearest,
            "similarity": float(evaluation.similarity[place]),
            "nearest_image": run.save_image(f"training/{nearest}", pixels),
            "held_out": None if evaluation.held_out is None else float(evaluation.held_out[place]),
            "match_q": None if evaluation.matches is None else float(evaluation.matches[place]),
        }


CSV = [*COLUMNS, "q_value", "nearest", "similarity", "held_out", "match_q"]


def examine(
    method: Extractor,
    suspect: LatentDiffusion,
    base: LatentDiffusion,
    prompts: Sequence[str],
    similarity: Embedding,
    *,
    controlled: bool,
    training: ImageSet | None,
    held_out: ImageSet | None,
    fdr: float,
    run: Run,
    workers: int,
) -> Examination:
    """Extract, draw the control where it is wanted, and evaluate where the training set is known."""
    found = method(suspect, base, prompts=prompts, similarity=similarity, run=run, workers=workers)
    settings: Any = method
    beside = control(settings, base, prompts, similarity, found, run, workers) if controlled else None
    evaluation = None if training is None else evaluate(found, training, held_out, similarity)
    return Examination(found, beside, evaluation, training, fdr)


def check_confidence(method: Drawing, fdr: float) -> None:
    """Raises `BadInput` for a rate that cannot be reached: no q-value lies below one in the base's groups and one,
    and there are at most as many groups as pictures.
    """
    if fdr * (method.generations + 1) < 1:
        raise BadInput(
            f"a false-discovery rate of {fdr:g} cannot be shown with {method.generations} generations; draw "
            f"{int(np.ceil(1 / fdr)) - 1} or more (--generations), or ask for a higher rate (--fdr)"
        )


def _control(run: Run, beside: Control) -> dict[str, Any]:
    return {
        "drawn": beside.drawn,
        "scores": beside.scores.tolist(),
        "sizes": list(beside.sizes),
        "images": [
            run.save_image(f"control-groups/{name.removesuffix('.png')}", pixels)
            for name, pixels in zip(beside.pictures.names, beside.pictures.pixels, strict=True)
        ],
    }


def _evaluation(found: Evaluation) -> dict[str, Any]:
    thresholds = {"loose": found.loose, "strict": found.strict}
    return {
        "average_similarity": found.coverage.average,
        "training": len(found.coverage.similarity),
        "extracted": found.coverage.extracted,
        **thresholds,
        "rates": {name: None if at is None else found.coverage.rate(at) for name, at in thresholds.items()},
        "by_picture": found.coverage.similarity.tolist(),
        "nearest": list(found.coverage.nearest),
    }
