"""A picture that is drawn again by the settings it carries."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.png_settings import ModelRecord, PictureSettings
from intaglio.commands.kit.recorded_search import recorded_start
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.sampling.start import NoiseStart, Start


def drawn_again(
    recorded: PictureSettings,
    before: "Float[Tensor, '3 h w']",
    model: "LatentDiffusion",
    way: Mapping[str, Any],
    start: "NoiseStart",
    picture: Path,
) -> "tuple[Float[Tensor, '3 h w'], int]":
    """The picture as it is drawn now, and the size of the batch: alone, and where that differs in one of its own size.

    Args:
        recorded: what the PNG `picture` says.
        before: its pixels.
        model: the one that drew it.
        way: method or guide, as keywords of `sample`.
        start: turns the noise into the first latents.
        picture: for the words of errors.
    """
    from intaglio.images.image_set import to_uint8

    drawn, rows = before, 1
    for rows in sorted({1, recorded.rows}):
        drawn = _sample_again(recorded, model, way, recorded_start(recorded, model, start, rows, picture), rows)
        if bool((to_uint8(drawn) == to_uint8(before)).all()):
            break
    return drawn, rows


def _sample_again(
    recorded: PictureSettings, model: "LatentDiffusion", way: Mapping[str, Any], start: "Start", rows: int
) -> "Float[Tensor, '3 h w']":
    """The picture, sampled in a batch of `rows` copies: the last bits of a network depend on the batch's size."""
    from intaglio.sampling.loop import sample

    drawn = sample(
        model,
        [recorded.prompt] * rows,
        [recorded.seed] * rows,
        sampler=recorded.sampler,
        steps=recorded.steps,
        guidance_scale=recorded.guidance,
        negative=recorded.negative,
        **way,
        start=start,
        batch=rows,
    )
    return drawn.pixels[0]


def refuse_another(path: Path, drawn_by: ModelRecord, model: "LatentDiffusion", flags: str) -> None:
    """Raises `BadInput` for a model that is not the recorded one; `flags` say where the right one is given."""
    # Earlier versions recorded the hash of the weights alone.
    if drawn_by.fingerprint not in (model.fingerprint, model.weights_fingerprint):
        raise BadInput(
            f"{path} was drawn by {drawn_by.name} ({drawn_by.fingerprint[:16]}), and {model.name} "
            f"({model.fingerprint[:16]}) is another model; give the first by {flags}"
        )
