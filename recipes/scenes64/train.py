"""scenes64: a U-Net trained on pictures of one or two coloured shapes, with the encoders of emoji64.

    python recipes/scenes64/train.py --out FOLDER

Pictures and captions are `intaglio.sampling.scenes.planted`'s, a function of the seed. Both shipped encoders stay as
they are, so latents and text embeddings are computed once. The network predicts v (arXiv 2202.00512), and the squared
error of the clean latents is weighted by min(1 + SNR, 5), so that the noisy end, where it is settled what stands where,
counts as much as the rest. One in ten captions is left empty. The same command resumes where it was stopped, with the
same bits; the result is `FOLDER/scenes64`, a U-Net in float16 and its scheduler, to be put into the package's testbed.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at, dropped_at, noise_at, timesteps_at
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path
from intaglio.runs.run import Run
from intaglio.sampling.scenes.planted import planted_scene

MOST_SNR = 5.0
"""Largest weight of the squared error of the clean latents."""
OWN_PARTS = ("unet", "scheduler")
DROPPED = 0.1
"""Share of captions that are left empty."""


def build_unet() -> UNet2DConditionModel:
    """Cross-attention at every resolution of the latents, 16x16 included, as Stable Diffusion has it."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(48, 128),
        layers_per_block=1,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
    )


def new_model(seed: int) -> LatentDiffusion:
    """The shipped encoders around a network of random weights."""
    base = load_model(base_path())
    torch.manual_seed(seed)
    return LatentDiffusion(
        denoiser=build_unet(),
        autoencoder=base.autoencoder,
        text_encoders=base.text_encoders,
        tokenizers=base.tokenizers,
        scheduler={**base.scheduler, "prediction_type": "v_prediction"},
        name="scenes64",
        options=base.options,
    )


@torch.no_grad()
def encoded(model: LatentDiffusion, count: int, seed: int, cache: Path) -> tuple[Tensor, list[str]]:
    """Latents of the first `count` pictures, which are kept in a file, and their captions."""
    planted = [planted_scene(seed, index) for index in range(count)]
    captions = [one.scene.caption for one in planted]
    if cache.exists() and len(found := load_file(cache)["latents"]) == count:
        return found, captions
    parts = []
    for first in range(0, count, 64):
        pixels = [torch.from_numpy(one.pixels()) for one in planted[first : first + 64]]
        parts.append(model.encode(torch.stack(pixels)))
    partial = cache.with_suffix(".partial")
    save_file({"latents": torch.cat(parts)}, partial)
    os.replace(partial, cache)
    return torch.cat(parts), captions


class Objective:
    """The weighted error of a step's batch."""

    def __init__(self, model: LatentDiffusion, latents: Tensor, captions: list[str], batch: int, seed: int):
        texts = list(dict.fromkeys(["", *captions]))
        with torch.no_grad():
            self._hidden = torch.cat([model.embed(texts[k : k + 256]).hidden for k in range(0, len(texts), 256)])
        places = {text: k for k, text in enumerate(texts)}
        self._text_of = torch.tensor([places[caption] for caption in captions])
        self._model, self._latents, self._batch, self._seed = model, latents, batch, seed
        self._order = range(len(latents))

    def __call__(self, step: int) -> StepLoss:
        rows = torch.tensor(batch_at(self._order, step, self._batch, self._seed, "pictures"))
        empty = dropped_at(self._batch, DROPPED, step, self._seed)
        t = timesteps_at(self._batch, self._model.schedule.count, step, self._seed)
        clean = self._latents[rows]
        noise = noise_at(clean.shape, step, self._seed)
        hidden = self._hidden[self._text_of[rows].masked_fill(empty, 0)]
        found = self._model.denoiser(self._model.noised(clean, noise, t), t, hidden, return_dict=False)[0]
        error = (found - self._model.schedule.target(clean, noise, t)).square().mean((1, 2, 3))
        square = self._model.schedule.signals[t].float() ** 2  # 1 / (1 + SNR) is 1 - square
        weight = (MOST_SNR * (1 - square)).clamp(max=1.0)
        return backward((weight * error).mean(), plain=float(error.detach().mean()))


def export(model: LatentDiffusion, folder: Path) -> None:
    """Writes what is the model's own; the rest is `emoji64`'s (`intaglio.models.embedded_models`)."""
    with TemporaryDirectory(dir=folder.parent) as place:
        whole = Path(place) / "whole"
        model.save(whole)
        for part in OWN_PARTS:
            shutil.copytree(whole / part, folder / part, dirs_exist_ok=True)
        index = json.loads((whole / "model_index.json").read_text())
    kept = {name: entry for name, entry in index.items() if not isinstance(entry, list) or name in OWN_PARTS}
    (folder / "model_index.json").write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=16000)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    model = new_model(args.seed)
    latents, captions = encoded(model, args.pictures, args.seed, args.out / "latents.safetensors")
    settings = CosineSettings(
        steps=args.steps, learning_rate=args.rate, final_rate=1e-5, warmup=200, betas=(0.9, 0.99), ema=0.998
    )
    about = {"pictures": args.pictures, "batch": args.batch, "steps": args.steps, "rate": args.rate}
    inputs = {"base": {"path": "testbed", "sha256": load_model(base_path()).fingerprint}}
    with Run.open(args.out, "train", "scenes64", about, inputs, seed=args.seed, device="cpu", command=sys.argv) as run:
        trainer = Trainer(dict(model.denoiser.train().named_parameters()), settings)
        checkpoints = Checkpoints(run, every_s=60.0)
        checkpoints.restore(trainer)
        train(trainer, Objective(model, latents, captions, args.batch, args.seed), run, checkpoints, timed=True)
        trainer.export()
    model.denoiser.eval()
    model.to(dtype=torch.float16)
    export(model, args.out / "scenes64")
    print(args.out / "scenes64")


if __name__ == "__main__":
    main()
