"""Denoising trajectories as series: what a denoiser's module gives at each step, in few numbers."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.data_files import read_text
from intaglio.errors import BadInput
from intaglio.explain.series.labelled_series import LabelledSeries
from intaglio.explain.site_walks import Walk, recorded_walks
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


def trajectory_series(
    model: LatentDiffusion,
    prompts: Sequence[str],
    labels: Sequence[str],
    seeds: Sequence[int],
    walk: Walk,
    numbers: int,
    *,
    batch: int,
    run: Run,
) -> LabelledSeries:
    """A series a drawing: mean maps of a module at each step, in their first principal directions over all.

    Args:
        model: left as it was found.
        prompts: of n drawings.
        labels: the class of each; drawings of a prompt are one group.
        seeds: of each.
        walk: site, steps and guidance.
        numbers: directions that are kept, from 1.
        batch: drawings at once.
        run: keeps the drawings that are done.

    Raises `BadInput` as `recorded_walks` does, and for fewer directions than are asked for.
    """
    values = recorded_walks(model, prompts, seeds, walk, batch=batch, run=run).values
    rows = values.flatten(3).mean(3) if values.ndim > 3 else values
    found = principal(rows.flatten(0, 1), numbers).view(*rows.shape[:2], numbers)
    names = tuple(f"{seed}: {prompt}" for seed, prompt in zip(seeds, prompts, strict=True))
    channels = tuple(f"direction {k + 1}" for k in range(numbers))
    return LabelledSeries(names, found, tuple(labels), channels, groups=tuple(prompts))


def principal(rows: Float[Tensor, "r c"], numbers: int) -> Float[Tensor, "r k"]:
    """Rows in their first principal directions, each with its largest weight above 0. Raises `BadInput` for too few."""
    if numbers > min(rows.shape):
        raise BadInput(f"the site has {min(rows.shape)} numbers at most, not {numbers}; give fewer --numbers")
    centred = (rows - rows.mean(0)).double()
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:numbers]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return (centred @ (directions * largest.sign()).T).float()


def read_prompt_labels(path: Path) -> tuple[list[str], list[str]]:
    """Prompts and their labels: a CSV file with columns `prompt` and `label`. Raises `BadInput` for another."""
    try:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
        if lacking := {"prompt", "label"} - set(table.fieldnames or ()):
            raise BadInput(f"{path} has no column {min(lacking)}; give columns prompt and label")
        rows = [(str(row["prompt"]).strip(), str(row["label"] or "").strip()) for row in table]
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as a table ({error}); give a CSV file") from error
    if not rows or any(not label for _, label in rows):
        raise BadInput(f"{path} has no rows, or a row without a label; give a prompt and a label in each")
    return [prompt for prompt, _ in rows], [label for _, label in rows]
