"""Verifiers by the words of a command line, such as `jpeg`, `colour:blue` and `like:FOLDER`."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import cast

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding, load_similarity
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifiers.attributes import Attributes, embedded_attributes
from intaglio.sampling.verifiers.colour_share import HUES, ColourShare
from intaglio.sampling.verifiers.jpeg_size import JpegSize
from intaglio.sampling.verifiers.likeness import Likeness
from intaglio.sampling.verifiers.prompt_gain import PromptGain
from intaglio.sampling.verifiers.scene import SceneVerifier

KNOWN = "jpeg, colour:NAME, ink, like:FOLDER, denoiser, attributes, attributes:0, attributes:1, scene"


def verifier_of(spec: str, model: LatentDiffusion, prompts: Sequence[str] = ()) -> Verifier:
    """The verifier that words name; `denoiser` judges by `model`.

    Raises `BadInput` for one that there is not, for a folder that cannot be read, and for prompts that it knows no
    answer to.
    """
    verifier = _named(spec, model)
    if isinstance(verifier, Attributes | SceneVerifier):
        verifier.check(prompts)
    return verifier


def _named(spec: str, model: LatentDiffusion) -> Verifier:
    kind, _, value = spec.partition(":")
    match kind, value:
        case "jpeg", "":
            return JpegSize()
        case "ink", "":
            return ColourShare("ink")
        case "colour", _ if value in HUES:
            return ColourShare(value)
        case "colour", _:
            raise BadInput(f"there is no colour {value!r} for a verifier; use one of {', '.join(HUES)}")
        case "like", _ if value:
            return Likeness(_encoder(), ImageSet.load(Path(value), model.resolution))
        case "denoiser", "":
            return PromptGain(model)
        case "attributes", "" | "0" | "1":
            return _attributes(int(value) if value else None)
        case "scene", "":
            return SceneVerifier()
    raise BadInput(f"there is no verifier {spec!r}; use one of {KNOWN}")


@cache
def _attributes(half: int | None) -> Attributes:
    """Kept, since it is fitted when it is first asked."""
    return embedded_attributes(_encoder(), half)


def _encoder() -> Embedding:
    return cast(Embedding, load_similarity("embedded"))
