"""Fine-tunes on halves of a folder of pictures, by the command, as shadow models of an audit are made."""

from pathlib import Path

import torch

from intaglio import cli
from intaglio.images.image_set import save_png

ONE_STEP = "finetune lora --prompt cat --steps 1 --watch-every 0 --sample-count 0 --rank 1 --batch 1 --quiet"


def folder_of_noise(folder: Path, count: int, seed: int) -> None:
    """Pictures `0.png` and so on, of random pixels."""
    for k, picture in enumerate(torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))):
        save_png(picture, folder / f"{k}.png")


def half_tunes(base: Path, pool: Path, runs: Path, count: int = 4) -> Path:
    """Runs of fine-tunes of one step on as many halves; returns their folder."""
    for seed in map(str, range(1, count + 1)):
        given = ["--model", base, "--images", pool, "--half", seed, "--seed", seed, "--runs", runs]
        assert cli.main([*ONE_STEP.split(), *map(str, given)]) == 0
    return runs
