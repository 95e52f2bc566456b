"""Sparse autoencoder of features: few of many codes are above 0 in a row, each the share of an atom of a dictionary."""

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.models.sparse_codes import CHUNK, SparseAutoencoder, largest
from intaglio.randomness import generator, seed_32bit
from intaglio.runs.run import Run

Atoms = Literal["archetypal", "free"]
"""archetypal: near convex combinations of centres of the features; free: any rows of unit length."""
AUXILIARY = 0.1
"""Weight of the auxiliary loss."""
EPSILON = 1e-5
"""Added to variances."""
MOST_CLUSTERED = 8192
"""Rows that centres are found from, at most."""
ROUNDS = 30
"""Rounds of k-means, at most."""


@dataclass(frozen=True, kw_only=True)
class SparseSettings:
    """Shape and training of an autoencoder; a wrong value raises `ValueError`."""

    concepts: int = 256
    """Atoms k of the dictionary, from 2."""
    active: int = 8
    """Codes of a row that may be above 0, 1 to `concepts`."""
    atoms: Atoms = "archetypal"
    reach: float = 1.0
    """Largest distance of an archetypal atom from the convex hull of the centres, 0 or more, where a number of the
    features has a mean square of 1."""
    updates: int = 600
    """Updates, from 1."""
    rows: int = 512
    """Rows of an update, from 2."""
    learning_rate: float = 5e-3
    """Highest learning rate, above 0."""
    seed: int = 0
    """Of centres and order, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        require(self.concepts >= 2, f"concepts must be at least 2, not {self.concepts}")
        require(
            1 <= self.active <= self.concepts, f"active must be 1 to the {self.concepts} concepts, not {self.active}"
        )
        require(0 <= self.reach < math.inf, f"reach must be 0 or more, and finite, not {self.reach}")
        require(self.updates >= 1, f"updates must be at least 1, not {self.updates}")
        require(self.rows >= 2, f"rows must be at least 2, not {self.rows}")
        require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")


def dead_codes(codes: Float[Tensor, "n k"]) -> list[int]:
    """Places of the codes that are 0 in every row."""
    return (codes <= 0).all(0).nonzero().flatten().tolist()


def sparse_loss(
    features: Float[Tensor, "n c"], given: Float[Tensor, "n k"], dictionary: Float[Tensor, "k c"], active: int
) -> Float[Tensor, ""]:
    """Mean squared error of the reconstruction, and a tenth of that of its residual by codes that were not taken.

    With z the codes of numbers `given`, r = A - z D and z' the larger half (k // 2) of the others above 0: the mean of
    r^2 and 1/10 of the mean of (r - z' D)^2, through which unused codes learn (AuxK).
    """
    codes = largest(given, active)
    residual = features - codes @ dictionary
    others = largest(given.relu() - codes, given.shape[1] // 2)
    return residual.square().mean() + AUXILIARY * (residual - others @ dictionary).square().mean()


def row_stochastic(mix: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
    """Rows without their negative numbers, brought to a sum of 1."""
    positive = mix.relu()
    return positive / positive.sum(1, keepdim=True).clamp_min(1e-8)


def within(moves: Float[Tensor, "k c"], reach: float) -> Float[Tensor, "k c"]:
    """Rows whose length is at most `reach`: longer ones are shortened."""
    return moves * (reach / moves.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1)


def trained_autoencoder(
    features: Float[Tensor, "n c"], settings: SparseSettings, *, run: Run = Run.none()
) -> SparseAutoencoder:
    """An autoencoder that has learnt from rows of features.

    An archetypal dictionary is D = (W C + L) exp(s) with C the centres of the features by k-means, as many as concepts,
    W of rows that are 0 or more and sum to 1, the rows of L no longer than `reach`, and s a number: equation 4 of the
    source, with its projections after each update. A free one has rows of unit length. Either begins with one centre an
    atom; the encoder begins with the atoms, and the scale with that of least squares. After the last update the batch
    normalisation takes mean and variance of all rows.

    Source: Fel et al., arXiv 2502.12892, with the top codes and the auxiliary loss of Gao et al., arXiv 2406.04093.

    Args:
        features: more different rows than concepts; their order counts.
        settings: of shape and training.
        run: takes the log and the state of the training, from which a killed one goes on.

    Raises:
        BadInput: for too few different rows.
        IntaglioError: for a loss that is not finite.
    """
    unit = max(float(features.double().square().mean().sqrt()), 1e-12)
    rows = (features / unit).float()
    learner = _Learner(rows, settings)
    schedule = CosineSettings(
        steps=settings.updates, learning_rate=settings.learning_rate, weight_decay=0.0, warmup=settings.updates // 20
    )
    trainer = Trainer(learner.weights, schedule)
    checkpoints = Checkpoints(run, every_s=20.0)
    checkpoints.restore(trainer)
    train(trainer, learner.loss, run, checkpoints, label="dictionary")
    trainer.export()
    return learner.finished(unit)


class _Learner:
    """Weights of an autoencoder while it learns."""

    def __init__(self, rows: Float[Tensor, "n c"], settings: SparseSettings):
        self._rows, self._settings = rows, settings
        self._batch = min(settings.rows, len(rows))
        self._centres = _centres(rows, settings)
        begun = self._centres / self._centres.norm(dim=1, keepdim=True).clamp_min(1e-12)
        count, channels = begun.shape
        self.weights: dict[str, Tensor] = {
            "encoder": begun.clone(),
            "gain": torch.ones(count),
            "offset": torch.zeros(count),
        }
        if settings.atoms == "archetypal":
            further = {"mix": torch.eye(count), "moves": torch.zeros(count, channels), "scale": torch.zeros(())}
        else:
            further = {"atoms": begun.clone()}
        self.weights |= further
        self._scale_begun()

    @torch.no_grad()
    def _scale_begun(self) -> None:
        """The scale of codes or atoms with which the first reconstruction is nearest."""
        rows = self._rows[: self._batch]
        rebuilt = largest(self._given(rows), self._settings.active) @ self._dictionary()
        scale = float((rows * rebuilt).sum() / rebuilt.square().sum().clamp_min(1e-12))
        if self._settings.atoms == "archetypal":
            self.weights["scale"].fill_(math.log(max(scale, 1e-4)))
        else:
            self.weights["gain"].fill_(max(scale, 1e-4))

    def loss(self, step: int) -> StepLoss:
        """Loss of an update, of weights that are projected first."""
        self._project()
        chosen = batch_at(range(len(self._rows)), step, self._batch, self._settings.seed, "sparse rows")
        rows = self._rows[chosen]
        return backward(sparse_loss(rows, self._given(rows), self._dictionary(), self._settings.active))

    @torch.no_grad()
    def finished(self, unit: float) -> SparseAutoencoder:
        """The autoencoder, with mean and variance of all rows in its encoder."""
        self._project()
        raw = torch.cat([one.double() @ self.weights["encoder"].double().T for one in self._rows.split(CHUNK)])
        gain = self.weights["gain"] / (raw.var(0, correction=0) + EPSILON).sqrt()
        offset = self.weights["offset"] - raw.mean(0) * gain
        encoder = gain[:, None] * self.weights["encoder"]
        dictionary = self._dictionary().clone()
        return SparseAutoencoder(unit, self._settings.active, encoder.float(), offset.float(), dictionary)

    def _given(self, rows: Float[Tensor, "m c"]) -> Float[Tensor, "m k"]:
        """Numbers that codes are taken from, normalised over the rows."""
        raw = rows @ self.weights["encoder"].T
        spread = (raw.var(0, correction=0) + EPSILON).sqrt()
        return (raw - raw.mean(0)) / spread * self.weights["gain"] + self.weights["offset"]

    def _dictionary(self) -> Float[Tensor, "k c"]:
        if self._settings.atoms == "free":
            return self.weights["atoms"]
        return (self.weights["mix"] @ self._centres + self.weights["moves"]) * self.weights["scale"].exp()

    @torch.no_grad()
    def _project(self) -> None:
        if self._settings.atoms == "archetypal":
            self.weights["mix"].copy_(row_stochastic(self.weights["mix"]))
            self.weights["moves"].copy_(within(self.weights["moves"], self._settings.reach))
        else:
            atoms = self.weights["atoms"]
            atoms.copy_(atoms / atoms.norm(dim=1, keepdim=True).clamp_min(1e-12))


def _centres(rows: Float[Tensor, "n c"], settings: SparseSettings) -> Float[Tensor, "k c"]:
    """Centres of the rows by k-means, of some of them where they are many."""
    source = generator(settings.seed, "clustered rows")
    chosen = torch.randperm(len(rows), generator=source)[:MOST_CLUSTERED].sort().values
    different = np.unique(rows[chosen].double().numpy(), axis=0)
    if len(different) < settings.concepts:
        raise BadInput(
            f"a dictionary of {settings.concepts} concepts needs as many different rows of features, and the pictures "
            f"have {len(different)}; give more pictures, or ask for fewer"
        )
    model: Any = KMeans(
        settings.concepts, n_init=cast(Any, 1), max_iter=ROUNDS, random_state=seed_32bit(settings.seed, "centres")
    )
    return torch.from_numpy(model.fit(different).cluster_centers_).float()
