"""A whole extraction: the finds, the null from the base, the evaluation where the truth is known, and their files."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import BadInput
from intaglio.extract.evaluation import Evaluation, evaluate
from intaglio.extract.family import Extractor
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.null import BaseNull, search_base
from intaglio.extract.results import COLUMNS, Extraction
from intaglio.extract.settings import GenerationSettings
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet
from intaglio.runs.plain import to_json
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv, without_nan

FILE = "extraction.json"


@dataclass(frozen=True, eq=False)
class ExtractionAudit:
    """An extraction beside its null and, where the training set is known, its evaluation."""

    extraction: Extraction
    reading: str
    """How the pictures were drawn, in words."""
    null: BaseNull | None
    """The same search in the base alone; None where it was not wanted."""
    evaluation: Evaluation | None
    """How much was extracted; None where the training set is not known."""
    training: ImageSet | None
    fdr: float
    """The false-discovery rate asked for."""

    @property
    def q_values(self) -> Float[ndarray, "n"] | None:
        """Of each find; None without a control."""
        return None if self.null is None else self.null.q_values(self.extraction)

    @property
    def reported(self) -> int | None:
        """How many finds can be reported at the rate asked for; None without a control."""
        return None if self.q_values is None else int((self.q_values <= self.fdr).sum())

    @property
    def statement(self) -> str:
        """What was found, in a sentence."""
        count = len(self.extraction.finds)
        if not count:
            return "No group of alike pictures was drawn; nothing is returned."
        if self.null is None or self.q_values is None:
            return f"{count} pictures are returned; without the base's control nobody can say how many by chance."
        if self.reported:
            return (
                f"{self.reported} of {count} returned pictures stand out from what the base draws by itself, at a "
                f"false-discovery rate of at most {self.fdr:g}."
            )
        return (
            f"None of {count} returned pictures can be told from what the base draws by itself at a false-discovery "
            f"rate of {self.fdr:g}; the lowest reached is {float(self.q_values.min()):.2g}."
        )

    def figures(self) -> dict[str, Any]:
        """Counts, and how much was extracted where that is known."""
        return {
            "statement": self.statement,
            "returned": len(self.extraction.finds),
            "told": self.reported,
            "drawn": self.extraction.drawn,
            "excluded": sum(self.extraction.excluded.values()),
            "average_similarity": None if self.evaluation is None else self.evaluation.coverage.average,
        }

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
            "reading": self.reading,
            "statement": self.statement,
            "fdr": self.fdr,
            "told": self.reported,
            "finds": [self._find(run, index) for index in range(len(found.finds))],
            "control": None if self.null is None else _control(run, self.null),
            "scores": found.scores.tolist(),
            "evaluation": None if evaluation is None else _evaluation(evaluation),
        }

    def _find(self, run: Run, index: int) -> dict[str, Any]:
        found, evaluation = self.extraction, self.evaluation
        name = found.pictures.names[index]
        entry = {**found.rows()[index], "members": list(found.finds[index].members)}
        entry["q_value"] = None if self.q_values is None else float(self.q_values[index])
        entry["image"] = run.save_image(f"finds/{name.removesuffix('.png')}", found.pictures.pixels[index])
        if evaluation is None or self.training is None:
            return entry
        nearest = evaluation.nearest[index]
        pixels = self.training.pixels[self.training.names.index(nearest)]
        return {
            **entry,
            "nearest": nearest,
            "similarity": float(evaluation.similarity[index]),
            "nearest_image": run.save_image(f"training/{nearest}", pixels),
            "held_out": None if evaluation.held_out is None else float(evaluation.held_out[index]),
            "match_q": None if evaluation.matches is None else float(evaluation.matches[index]),
        }


CSV = [*COLUMNS, "q_value", "nearest", "similarity", "held_out", "match_q"]


def run_extraction(
    method: Extractor,
    inputs: ExtractionInputs,
    *,
    controlled: bool,
    training: ImageSet | None,
    held_out: ImageSet | None,
    fdr: float,
    run: Run,
    workers: int,
) -> ExtractionAudit:
    """Extract, search the base too where that is wanted, and evaluate where the training set is known."""
    about = {"similarity": inputs.similarity, "run": run, "workers": workers}
    found = method(inputs.suspect, inputs.base, prompts=inputs.prompts, **about)
    null = search_base(method, inputs, found, run, workers) if controlled else None
    evaluation = None if training is None else evaluate(found, training, held_out, inputs.similarity)
    return ExtractionAudit(found, method.reading, null, evaluation, training, fdr)


def check_confidence(settings: GenerationSettings, fdr: float) -> None:
    """Raises `BadInput` for a rate that cannot be reached: no q-value lies below one in the base's groups and one,
    and there are at most as many groups as pictures.
    """
    if fdr * (settings.generations + 1) < 1:
        raise BadInput(
            f"a false-discovery rate of {fdr:g} cannot be shown with {settings.generations} generations; draw "
            f"{int(np.ceil(1 / fdr)) - 1} or more (--generations), or ask for a higher rate (--fdr)"
        )


def _control(run: Run, null: BaseNull) -> dict[str, Any]:
    return {
        "drawn": null.drawn,
        "scores": null.scores.tolist(),
        "sizes": list(null.sizes),
        "images": [
            run.save_image(f"control-groups/{name.removesuffix('.png')}", pixels)
            for name, pixels in zip(null.pictures.names, null.pictures.pixels, strict=True)
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
