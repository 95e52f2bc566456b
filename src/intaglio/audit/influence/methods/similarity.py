"""similarity: the likeness of a query and a training picture to an encoder, which knows nothing of the model."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.family import Influence
from intaglio.denoising.examples import Examples
from intaglio.errors import require
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class PictureSimilarity(Influence):
    """Similarity: how much a training picture looks like the query, whatever the model.

    With e(x) the unit descriptor that an encoder gives of a picture, tau(q, i) = < e(q), e(i) > in [-1, 1]. Neither
    the model nor the prompts have a part in it: it is the floor that a method which asks the model must rise above.

    Source: the usual baseline of studies of attribution, as in Zheng et al., arXiv 2311.00500.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how much it looks like the picture asked about, to an encoder that knows no model"
    unit: ClassVar[str] = "cosine, 1 for equal pictures"

    similarity: str = "embedded"
    """Measure: embedded, ssim, or the path of a local encoder. A TorchScript file is a program, and is run only where
    all it can do is compute."""

    def __post_init__(self) -> None:
        require(bool(self.similarity.strip()), "similarity must name a measure, such as embedded")

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for an encoder that is not there or cannot be read."""
        super().check(model)
        load_similarity(self.similarity)

    def scores(self, model: LatentDiffusion, train: Examples, queries: Examples, run: Run) -> Float[Tensor, "q n"]:
        """One row a query, recorded when it is known."""
        measure = load_similarity(self.similarity, model.device)
        key, recorded = digest([measure.hash, train.hashes]), run.recorded(self.name)
        work = dict(sorted(zip(queries.hashes, queries.images.pixels, strict=True), key=lambda one: one[0]))
        found = {one: row["tau"] for one in work if (row := recorded.get(one, {})).get("key") == key}
        with run.progress(len(work), self.name, len(found)) as progress:
            for one, pixels in work.items():
                if one not in found:
                    found[one] = measure.matrix(pixels[None], train.images.pixels)[0].double().tolist()
                    run.record(self.name, one, {"key": key, "tau": found[one]})
                    progress.advance()
        return torch.tensor([found[one] for one in queries.hashes], dtype=torch.float64)
