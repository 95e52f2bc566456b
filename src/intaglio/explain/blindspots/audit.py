"""The whole search for blind spots: drawn pictures, the control, the concepts, and pictures for a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.denoising.examples import encoded
from intaglio.explain.blindspots.cost import DRAWN
from intaglio.explain.blindspots.family import BlindSpotFinder
from intaglio.explain.blindspots.pictured_pairs import Part, PicturedPairs
from intaglio.explain.blindspots.result import BlindSpots
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.run import Run
from intaglio.sampling.loop import decoded_at_once
from intaglio.sampling.trained.own_latents import own_latents

STATE = "generated"
"""State of the run: latents drawn so far."""


@dataclass(frozen=True, eq=False)
class PairedDrawing:
    """Generated pictures, or the way to them."""

    model: LatentDiffusion | None
    """Draws, and gives the control; None where the pictures are given, and their model is not known."""
    prompts: tuple[str, ...]
    """One a real picture; none where the pictures are given."""
    scale: float | None
    """Guidance scale; None where the pictures are given."""
    steps: int | None
    """Of DDIM; None where the pictures are given."""
    given: Float[Tensor, "n 3 h w"] | None = None
    """Generated pictures in the order of the real ones; None has the model draw them."""


def audit_blindspots(
    method: BlindSpotFinder,
    scored: ScoredNetwork,
    images: ImageSet,
    drawing: PairedDrawing,
    *,
    labels: Sequence[str | None] | None = None,
    run: Run = Run.none(),
) -> BlindSpots:
    """The concepts of real pictures and generated ones.

    Args:
        method: with its settings.
        scored: whose layer is looked at; left as it was found.
        images: n real pictures, two or more.
        drawing: of the generated ones; the model is left as it was found.
        labels: of the real pictures; None takes the classes that the network calls them.
        run: progress, states, records and pictures go there.

    Raises:
        BadInput: as a call of the method does.
    """
    parts: dict[Part, Tensor] = {"real": images.pixels, "generated": _generated(drawing, method.seed, run)}
    if drawing.model is not None:
        with drawing.model.frozen():
            parts["decoded"] = _decoded(drawing.model, encoded(drawing.model, images.pixels).float().cpu())
    called = [scored.classes[int(place)] for place in scored.called(images.pixels)] if labels is None else labels
    pairs = PicturedPairs(images.names, parts, tuple(called))
    found = method(scored, pairs, run=run)
    _store(found, pairs, run)
    return found


def forget_states(method: BlindSpotFinder, run: Run) -> None:
    """Drops what a run kept to go on from; to be called once its result is safe."""
    for name in (STATE, *method.states):
        run.drop_state(name)


def picture_name(part: str, name: str) -> str:
    """Name of a stored picture of a pair, below the run's pictures."""
    return f"{part}/{Path(name).with_suffix('').as_posix()}"


def _generated(drawing: PairedDrawing, seed: int, run: Run) -> Float[Tensor, "n 3 h w"]:
    if drawing.given is not None:
        return drawing.given
    if drawing.model is None or drawing.scale is None or drawing.steps is None:
        raise ValueError("a drawing needs a model, steps and a scale, or pictures")
    latents = own_latents(
        drawing.model,
        drawing.prompts,
        len(drawing.prompts),
        steps=drawing.steps,
        scale=drawing.scale,
        batch=DRAWN,
        seed=seed,
        run=run,
        name=STATE,
    )
    return _decoded(drawing.model, latents)


def _decoded(model: LatentDiffusion, latents: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n 3 h w"]:
    """Pictures of latents as their 8-bit files have them, since real ones come from files."""
    with torch.no_grad(), model.frozen():
        parts = latents.split(decoded_at_once(model, latents))
        pixels = torch.cat([model.decode(part.to(model.device)).cpu() for part in parts])
    return to_uint8(pixels).float() / 255


def _store(found: BlindSpots, pairs: PicturedPairs, run: Run) -> None:
    """All generated pictures, and the real ones that the report shows."""
    place = {name: k for k, name in enumerate(pairs.names)}
    for name, k in place.items():
        run.save_image(picture_name("generated", name), pairs.parts["generated"][k])
    shown = {name for one in found.shifts if one.verdict for name in one.most_real} | {
        name for name, *_ in found.copied
    }
    for name in sorted(shown):
        run.save_image(picture_name("real", name), pairs.parts["real"][place[name]])
