"""The whole audit of components: pictures of every set of them, their descriptors, and the credit of each component."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.components.drawing_components import Drawing, DrawingComponent, with_components
from intaglio.audit.components.family import VALUES, ComponentAudit
from intaglio.audit.components.result import ComponentShares
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding, Similarity, check_descriptors
from intaglio.runs.run import Run
from intaglio.sampling.loop import decoded_at_once
from intaglio.sampling.trained.own_latents import own_latents

SHOWN = "shown"
"""Kind of the records of stored pictures."""
BATCH = 8
"""Pictures that are drawn at once."""


def audit_components(
    method: ComponentAudit,
    drawing: Drawing,
    components: Mapping[str, DrawingComponent],
    target: ImageSet,
    similarity: Similarity,
    *,
    steps: int = 30,
    shown: int = 4,
    run: Run = Run.none(),
) -> ComponentShares:
    """The share of each component in the likeness of drawn pictures with target pictures.

    Args:
        method: with its settings.
        drawing: with all components switched off; the model is left as it was found.
        components: by name, 2 to 16.
        target: pictures that the drawings may have copied, two or more, of any size.
        similarity: an encoder, by whose descriptors sets of pictures are compared.
        steps: of DDIM.
        shown: pictures that are stored of no component, of each alone, and of all, 0 or more.
        run: progress, states and pictures go there; a killed call goes on after the last batch.

    Raises:
        BadInput: as a call of the method does; for a measure that gives no descriptors, for a component that does not
            fit the model, and for a target picture without a descriptor.
    """
    encoder = encoder_of(similarity)
    check_descriptors(encoder, target.pixels, list(target.names))
    parts = tuple(components.values())
    single = {0, *(1 << i for i in range(len(parts))), 2 ** len(parts) - 1}
    asked: list[int] = []

    def draws(coalition: int) -> Float[Tensor, "n d"]:
        if asked:  # that one is valued by now, and the value stored
            run.drop_state(_state(asked.pop()))
        asked.append(coalition)
        way = with_components(drawing, parts, coalition)
        pixels = _pictures(way, method, coalition, steps, run)
        if coalition in single and shown:
            _store(pixels[:shown], coalition, way, run)
        return encoder.embed(pixels)

    found = method(tuple(components), draws, encoder.embed(target.pixels), run=run)
    recorded = {int(one): tuple(row["paths"]) for one, row in run.recorded(SHOWN).items()}
    return replace(found, pictures=dict(sorted(recorded.items())))


def encoder_of(similarity: Similarity) -> Embedding:
    """The measure as an encoder. Raises `BadInput` for one that compares pairs alone."""
    if not isinstance(similarity, Embedding):
        raise BadInput(
            f"sets of pictures are compared by descriptors, which {similarity.name} has not; give an encoder to "
            "--similarity, such as embedded"
        )
    return similarity


def forget_states(run: Run, found: ComponentShares) -> None:
    """Drops what a run kept to go on from; to be called once its result is safe."""
    for name in (VALUES, *map(_state, found.values)):
        run.drop_state(name)


def _store(pixels: Float[Tensor, "n 3 h w"], coalition: int, way: Drawing, run: Run) -> None:
    """The first pictures of a set of components."""
    prompts = [way.prompts[k % len(way.prompts)] for k in range(len(pixels))]
    paths = [
        run.save_image(f"{coalition:05d}-{k:02d}", one, {"prompt": prompt})
        for k, (one, prompt) in enumerate(zip(pixels, prompts, strict=True))
    ]
    run.record(SHOWN, str(coalition), {"paths": paths})


def _pictures(way: Drawing, method: ComponentAudit, coalition: int, steps: int, run: Run) -> Float[Tensor, "n 3 h w"]:
    options: dict[str, Any] = {"steps": steps, "scale": way.scale, "batch": BATCH, "seed": method.seed}
    latents = own_latents(way.model, way.prompts, method.pictures, **options, run=run, name=_state(coalition))
    with torch.no_grad(), way.model.frozen():
        parts = latents.split(decoded_at_once(way.model, latents))
        return torch.cat([way.model.decode(part.to(way.model.device)).cpu() for part in parts])


def _state(coalition: int) -> str:
    return f"coalition {coalition}"
