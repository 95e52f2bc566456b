"""Artist and subject of a picture of the embedded testbed, judged by heads that were fitted to real pictures."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models import testbed
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import read_state
from intaglio.sampling.verifiers.style_statistics import style_statistics

STYLE = ", "
"""Between the name and the artist's style in a caption, such as `fox face, twemoji style`."""
TREES, LEAST_PROBABILITY = 200, 1e-3
"""Trees of the artist's forest, and what is added to its probabilities before their logarithm."""
TEMPERATURE = 0.1
"""Difference of cosines with two pictures that makes one e times as probable as the other."""


@dataclass(frozen=True, eq=False)
class Attributes:
    """Log-probability of a prompt's artist and name, of pictures captioned `NAME, ARTIST style`.

    The artist by a random forest on statistics of colours and edges, of the real pictures as they are and as the
    embedded autoencoder gives them back, since a decoder softens what tells styles apart; the name by the cosine of an
    encoder's descriptor with those of real pictures, one a name. Two of them on disjoint halves of the real pictures
    (`half` 0 and 1) share no artist's training pictures: one may lead a search and the other judge it. The encoder is
    the same in both, so that a realism measured by it must not be led by the name.
    """

    encoder: Embedding
    real: ImageSet
    """Real pictures with captions."""
    decoded: Float[Tensor, "m 22"]
    """Style statistics of the real pictures after an autoencoder, in their order."""
    half: int | None = None
    """Pictures of which the artist's head is fitted: those at even (0) or odd (1) places; None takes all."""
    differentiable: bool = False
    calls: int = 0

    def __post_init__(self) -> None:
        if self.half not in (None, 0, 1):
            raise ValueError(f"half must be 0 or 1, not {self.half}")

    @property
    def name(self) -> str:
        return "attributes" if self.half is None else f"attributes:{self.half}"

    @property
    def hash(self) -> str:
        about = [self.encoder.hash, str(self.half), *self.real.hashes, *map(str, self.real.captions or ())]
        return hashlib.sha256("\n".join(about).encode()).hexdigest()

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """The score of each picture, NaN for one that is not finite. Raises `BadInput` for an unknown prompt."""
        wanted = [self._places(prompt) for prompt in prompts]
        failed = ~pixels.isfinite().flatten(1).all(1)
        artists, names = self.log_probabilities(pixels.masked_fill(failed.view(-1, 1, 1, 1), 0.5))
        rows = np.arange(len(prompts))
        found = artists[rows, [a for a, _ in wanted]] + names[rows, [n for _, n in wanted]]
        return torch.from_numpy(found).float().masked_fill(failed.cpu(), torch.nan)

    def correct(
        self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str], nearest: int = 1
    ) -> tuple[ndarray, ndarray]:
        """Whether the likeliest artist is the prompt's, and whether its name is among the nearest; both bool [n]."""
        wanted = np.array([self._places(prompt) for prompt in prompts])
        artists, names = self.log_probabilities(pixels)
        own = np.take_along_axis(names, wanted[:, 1:], 1)
        return artists.argmax(1) == wanted[:, 0], (names > own).sum(1) < nearest

    def log_probabilities(
        self, pixels: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[ndarray, "n artists"], Float[ndarray, "n names"]]:
        """Log-probabilities of the artists and of the names, in the order of `artists` and `names`."""
        told = np.asarray(self._head.predict_proba(style_statistics(pixels).numpy()))
        artists = np.log(told + LEAST_PROBABILITY)
        cosines = self.encoder.embed(pixels) @ self._known.T
        return np.asarray(artists), (cosines / TEMPERATURE).log_softmax(1).double().numpy()

    @cached_property
    def artists(self) -> tuple[str, ...]:
        """Artists of the real pictures, in the order of the alphabet."""
        return tuple(sorted({artist for _, artist in self._parts}))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the real pictures, in their order."""
        return tuple(name for name, _ in self._parts)

    @cached_property
    def _parts(self) -> list[tuple[str, str]]:
        return [parted(str(caption)) for caption in self.real.captions or ()]

    @cached_property
    def _known(self) -> Tensor:
        return self.encoder.embed(self.real.pixels)

    @cached_property
    def _head(self) -> RandomForestClassifier:
        rows = slice(None) if self.half is None else slice(self.half, None, 2)
        seen = [style_statistics(self.real.pixels).numpy()[rows], self.decoded.numpy()[rows]]
        head = RandomForestClassifier(TREES, min_samples_leaf=2, random_state=0)
        return head.fit(np.concatenate(seen), 2 * [artist for _, artist in self._parts][rows])

    def check(self, prompts: Sequence[str]) -> None:
        """Raises `BadInput` for a prompt that is no caption of the real pictures."""
        for prompt in dict.fromkeys(prompts):
            self._places(prompt)

    def _places(self, prompt: str) -> tuple[int, int]:
        name, artist = parted(prompt)
        if artist not in self.artists or name not in self.names:
            raise BadInput(
                f"the verifier attributes knows no picture of {prompt!r}; give a caption of the embedded pictures, "
                f"such as {self.names[0]}{STYLE}{self.artists[0]}, or another verifier"
            )
        return list(self._head.classes_).index(artist), self.names.index(name)


def embedded_attributes(encoder: Embedding, half: int | None = None) -> Attributes:
    """The verifier on the embedded pictures, with the statistics of their decoded forms that ship beside the encoder.

    Raises `BadInput` where these belong to other pictures.
    """
    real, path = testbed.real_pictures(), testbed.style_statistics_path()
    found = read_state(path)
    if found is None or found[1].get("pictures") != digest(list(real.hashes)):
        raise BadInput(f"{path} is missing, or of other pictures; install the package again")
    return Attributes(encoder, real, found[0]["decoded"], half)


def parted(caption: str) -> tuple[str, str]:
    """Name and style of a caption; the style is empty where it has none."""
    name, _, style = caption.rpartition(STYLE)
    return (name, style) if name else (caption, "")
