"""look-alikes: the candidates that look most like the targets to an encoder, which knows nothing of the model."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from intaglio.audit.selection.family import ChosenCandidates, Selector
from intaglio.audit.selection.gradient_selection import best
from intaglio.denoising.examples import Examples
from intaglio.errors import require
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class LookAlikes(Selector):
    """Look-alikes: the candidates that look most like the targets, whatever the model.

    With e(x) the unit descriptor that an encoder gives of a picture, the score of candidate c is the mean over targets
    of < e(c), e(t) >, and the `size` highest are chosen, with equal weights.

    Source: the usual baseline of data selection by nearest neighbours in an encoder's features.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how much it looks like the targets, to an encoder that knows no model"

    size: int = 10
    """Candidates to choose, from 1."""
    similarity: str = "embedded"
    """Measure: embedded, ssim, or the path of a local encoder. A TorchScript file is a program, and is run only where
    all it can do is compute."""

    def __post_init__(self) -> None:
        require(self.size >= 1, f"size must be at least 1, not {self.size}")
        require(bool(self.similarity.strip()), "similarity must name a measure, such as embedded")

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for an encoder that is not there or cannot be read."""
        super().check(model)
        load_similarity(self.similarity)

    def chosen(self, model: LatentDiffusion, candidates: Examples, target: Examples, run: Run) -> ChosenCandidates:
        """One row a candidate, recorded when it is known."""
        measure = load_similarity(self.similarity, model.device)
        key, recorded = digest([measure.hash, sorted(target.hashes)]), run.recorded(self.name)
        found = {one: row["score"] for one in candidates.hashes if (row := recorded.get(one, {})).get("key") == key}
        with run.progress(len(candidates), self.name, len(found)) as progress:
            for one, pixels in zip(candidates.hashes, candidates.images.pixels, strict=True):
                if one not in found:
                    found[one] = float(measure.matrix(pixels[None], target.images.pixels)[0].double().mean())
                    run.record(self.name, one, {"key": key, "score": found[one]})
                    progress.advance()
        scores = torch.tensor([found[one] for one in candidates.hashes], dtype=torch.float64)
        return ChosenCandidates(scores, best(scores, self.size), [1 / self.size] * self.size)
