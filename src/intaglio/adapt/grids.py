"""Sample pictures of a fine-tune, always from the same seeds, and their grid in the run's folder."""

import torch

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.settings import Watch
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.fixed_sampling import refuse_scale, settled
from intaglio.sampling.loop import sample

BEFORE = "before"
"""Folder, among a run's pictures, of those that the base draws."""


def sample_scale(model: LatentDiffusion, watch: Watch) -> float:
    """The guidance scale of sample pictures and judged ones. Raises `BadInput` for one that the model cannot take."""
    scale = settled(model, None, None, watch.sample_guidance).scale
    refuse_scale(model, scale, "--sample-guidance")
    return scale


def draw_samples(model: LatentDiffusion, data: TrainingSet, seed: int, watch: Watch) -> ImageSet | None:
    """`sample_count` pictures of each prompt, the k-th always from the same noise; None where none are wanted."""
    if not watch.sample_count:
        return None
    prompts = watch.sample_prompt or (data.trigger,)
    seeds = [seed_32bit(seed, "sample", index) for index in range(watch.sample_count)]
    return sample(
        model,
        [prompt for prompt in prompts for _ in seeds],
        seeds * len(prompts),
        steps=watch.sample_steps,
        guidance_scale=sample_scale(model, watch),
    )


def draw_base_samples(model: LatentDiffusion, data: TrainingSet, seed: int, watch: Watch, run: Run) -> ImageSet | None:
    """The same pictures by the base, `model` before its first step; those already in the run's folder are read."""
    stored = [] if run.folder is None else sorted((run.folder / "images" / BEFORE).glob("*.png"))
    if watch.sample_count and len(stored) == watch.sample_count * max(1, len(watch.sample_prompt)):
        return ImageSet.load(stored, model.resolution)
    found = draw_samples(model, data, seed, watch)
    for place, pixels in enumerate(() if found is None else found.pixels):
        run.save_image(f"{BEFORE}/{place:02d}", pixels)
    return found


def save_grid(pictures: ImageSet | None, step: int, run: Run, watch: Watch) -> None:
    """Store one picture of all of them, a row a prompt, in the run's folder."""
    if pictures is not None:
        rows = [torch.cat(list(row), dim=-1) for row in pictures.pixels.split(watch.sample_count)]
        text = {"step": str(step), "prompts": "\n".join(watch.sample_prompt)}
        run.save_image(f"samples-{step:06d}", torch.cat(rows, dim=-2), text)
