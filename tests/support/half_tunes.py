"""Run folders of fine-tunes on halves of pictures, written without the training, as shadow models of an audit."""

from pathlib import Path

import torch

from intaglio.adapt.data import TrainingSet
from intaglio.audit.membership.shadow_runs import RECORD
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import DENOISER_TARGETS, FILE_NAME, LoRA
from intaglio.runs.run import Run


def folder_of_noise(folder: Path, count: int, seed: int) -> None:
    """Pictures `0.png` and so on, of random pixels."""
    for k, picture in enumerate(torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))):
        save_png(picture, folder / f"{k}.png")


def half_tunes(base: Path, pool: Path, runs: Path, seeds: tuple[int, ...] = (1, 2, 3, 4)) -> Path:
    """Runs of a LoRA of random weights for the half of each seed; returns their folder."""
    model, images = load_model(base), ImageSet.load(pool, 16)
    for seed in seeds:
        source = torch.Generator().manual_seed(seed)
        adapter = LoRA.new(model, 1, 1.0, DENOISER_TARGETS, source)
        with torch.no_grad():
            for _, _, layer in adapter.pairs():
                layer.up.copy_(0.1 * torch.randn(layer.up.shape, generator=source))
        about = {"seed": seed, "device": "cpu", "command": (), "progress": "none"}
        with Run.open(runs, "finetune", "lora", {"half": seed}, {}, **about) as run:
            half = TrainingSet(images, "cat").half(seed).images
            run.record(*RECORD, {"hashes": sorted(set(half.hashes))})
            adapter.write((run.folder or runs) / FILE_NAME, "diffusers", {})
            run.finish({"weights": FILE_NAME}, (FILE_NAME,))
    return runs
