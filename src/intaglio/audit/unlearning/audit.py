"""The whole unlearning: the model, and what is left of the concept and of all else, in figures and in pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.family import Unlearner
from intaglio.audit.unlearning.prompt_evidence import prompt_evidence
from intaglio.audit.unlearning.result import Unlearned
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.fixed_sampling import settled
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.sampling.trained.own_latents import own_latents

JUDGED, SHOWN = "judged", "after"
"""States of the run: the original's pictures, and the new model's of the same seeds."""
STEPS, BATCH = 20, 8
"""Steps of DDIM of these pictures, and how many are drawn at once."""


def audit_unlearning(
    method: Unlearner,
    model: LatentDiffusion,
    concept: Concept,
    *,
    forget: CaptionedLatents | None = None,
    retain: CaptionedLatents | None = None,
    pictures: int = 8,
    shown: int = 2,
    seed: int = 0,
    run: Run = Run.none(),
) -> Unlearned:
    """The model without the concept, compared with the one that was given.

    For every prompt of the concept and every kept one the given model draws pictures; both models are asked for their
    denoising loss under the prompt and under its anchor, a kept one's being the empty prompt; and both draw the first
    seeds. Where given pictures are forgotten, both are asked about these and those that stay, under their captions and
    under the empty prompt, and draw the captions of those forgotten.

    Args:
        method: with its settings.
        model: left as it was found.
        concept: to unlearn.
        forget: pictures of the concept; None: the model draws its own.
        retain: pictures of what is to stay, likewise.
        pictures: of each prompt that the models are compared on, from 1; given ones are all compared.
        shown: of these, by each model, that are stored in the run's folder, 0 to `pictures`.
        seed: of these pictures and of the noise they are judged at.
        run: progress, states and pictures go there.

    Raises:
        BadInput: as a call of the method does.
    """
    found = method(model, concept, forget=forget, retain=retain, run=run)
    options = {"steps": STEPS, "scale": settled(model, None, None, None).scale, "batch": BATCH, "seed": seed}
    if method.forgets == "pictures" and forget is not None and retain is not None:
        rows, pictures = _picture_rows(model, found.model, forget, retain, seed), 1
        prompts = tuple(dict.fromkeys(forget.captions))
        drawn = own_latents(model, prompts, shown * len(prompts), **options, run=run, name=JUDGED) if shown else None
    else:
        prompts = (*concept.prompts, *concept.keep)
        drawn = own_latents(model, prompts, pictures * len(prompts), **options, run=run, name=JUDGED)
        rows = _rows(model, found.model, concept, drawn, seed)
    if shown and drawn is not None:
        first = shown * len(prompts)
        after = own_latents(found.model, prompts, first, **options, run=run, name=SHOWN)
        _store("before", model, drawn[:first], prompts, run)
        _store("after", model, after, prompts, run)
    return replace(found, record=replace(found.record, rows=rows, pictures=pictures))


def forget_states(method: Unlearner, run: Run) -> None:
    """Drops what a run kept to go on from; to be called once its result is safe."""
    for name in (JUDGED, SHOWN, *method.states):
        run.drop_state(name)


def _rows(
    model: LatentDiffusion, changed: LatentDiffusion, concept: Concept, drawn: Float[Tensor, "n c h w"], seed: int
) -> tuple[Mapping[str, Any], ...]:
    prompts = (*concept.prompts, *concept.keep)
    against = (*(anchor for _, anchor in concept.pairs), *("" for _ in concept.keep))
    captions, others = ([texts[k % len(prompts)] for k in range(len(drawn))] for texts in (prompts, against))
    numbers = _numbers(model, changed, drawn, captions, others, seed)
    return tuple(
        {
            "prompt": prompt,
            "part": "concept" if k < len(concept.prompts) else "keep",
            **{name: float(values[k :: len(prompts)].double().mean()) for name, values in numbers.items()},
        }
        for k, prompt in enumerate(prompts)
    )


def _picture_rows(
    model: LatentDiffusion, changed: LatentDiffusion, forget: CaptionedLatents, retain: CaptionedLatents, seed: int
) -> tuple[Mapping[str, Any], ...]:
    """A row a given picture."""
    rows: list[Mapping[str, Any]] = []
    for part, given in (("forget", forget), ("retain", retain)):
        numbers = _numbers(model, changed, given.latents, given.captions, [""] * len(given.captions), seed)
        rows += [
            {"prompt": caption, "part": part, **{name: float(values[k]) for name, values in numbers.items()}}
            for k, caption in enumerate(given.captions)
        ]
    return tuple(rows)


def _numbers(
    model: LatentDiffusion,
    changed: LatentDiffusion,
    latents: Float[Tensor, "n c h w"],
    captions: Sequence[str],
    others: Sequence[str],
    seed: int,
) -> dict[str, Float[Tensor, "n"]]:
    """Evidence and loss of pictures under their captions, before and after."""
    before, after = (prompt_evidence(one, latents, captions, others, seed=seed) for one in (model, changed))
    return {
        "evidence_before": before.evidence,
        "evidence_after": after.evidence,
        "loss_before": before.under,
        "loss_after": after.under,
    }


def _store(
    name: str, model: LatentDiffusion, latents: Float[Tensor, "n c h w"], prompts: Sequence[str], run: Run
) -> None:
    """Pictures of latents, as `NAME/PROMPT-PICTURE`."""
    for k, one in enumerate(latents):
        with torch.no_grad(), model.frozen():
            (pixels,) = model.decode(one[None].to(model.device)).cpu()
        place, picture = k % len(prompts), k // len(prompts)
        run.save_image(f"{name}/{place:03d}-{picture:02d}", pixels, {"prompt": prompts[place]})
