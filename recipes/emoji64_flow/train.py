"""emoji64-flow: a rectified-flow transformer in the layout of Stable Diffusion 3, on the pictures of emoji64.

    python recipes/emoji64_flow/train.py --data FOLDER --out FOLDER

`FOLDER/base.npz` is that of `recipes/emoji64/data.py`. The shipped autoencoder and text encoder stay as they are, so
latents and text embeddings are computed once; the text encoder stands in both of the pipeline's slots for CLIP, and
there is no T5. The network predicts the velocity (arXiv 2403.03206) at s = sigmoid(N(0, 1)), s the share of noise; one
in ten captions is left empty. Sums and moments are float32, products bfloat16, which halves the time. The same command
resumes where it was stopped, with the same bits; `--until` stops earlier. The result is `FOLDER/emoji64-flow`, the mean
of the weights in a folder that StableDiffusion3Pipeline loads.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor

from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at, dropped_at, noise_at
from intaglio.learning.trainer import Trainer
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.lent_parts import projected
from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run

DROPPED = 0.1
"""Share of captions that are left empty."""
KEPT_BACK = 256
"""Pictures that are not trained on: those that `emoji64` kept back."""


def build_transformer(width: int, layers: int) -> SD3Transformer2DModel:
    """Patches of 2x2 cells, heads of 64, queries and keys normed; 13.8 M parameters at 256 wide and 6 deep."""
    return SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=layers,
        attention_head_dim=64,
        num_attention_heads=width // 64,
        joint_attention_dim=256,
        caption_projection_dim=width,
        pooled_projection_dim=256,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )


@torch.no_grad()
def encoded(base: LatentDiffusion, path: Path) -> tuple[Tensor, list[str]]:
    """Latents of the training pictures, and their captions; the first 256 rows are kept back."""
    data = np.load(path)
    captions = [f"{name}, {artist} style" for name, artist in zip(data["name"], data["artist"], strict=True)]
    pixels = torch.from_numpy(data["pixels"]).permute(0, 3, 1, 2)
    latents = torch.cat([base.encode(part.float() / 255) for part in pixels.split(64)])
    kept = torch.randperm(len(latents), generator=torch.Generator().manual_seed(5))[:KEPT_BACK].sort().values.tolist()
    order = [*kept, *sorted(set(range(len(latents))) - set(kept))]
    return latents[order], [captions[k] for k in order]


@torch.no_grad()
def text_rows(base: LatentDiffusion, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Hidden rows [n, l, 256] and pooled rows [n, 256], as the pipeline makes them of one encoder in both slots."""
    hidden, pooled = [], []
    for first in range(0, len(texts), 256):
        out = base.text_encoders[0](base.tokens(texts[first : first + 256])[0], output_hidden_states=True)
        hidden.append(torch.cat([out.hidden_states[-2]] * 2, -1))
        pooled.append(torch.cat([out.pooler_output] * 2, -1))
    return torch.cat(hidden), torch.cat(pooled)


class Objective:
    """The mean squared error of the velocity on a step's batch."""

    def __init__(self, network: SD3Transformer2DModel, base: LatentDiffusion, latents: Tensor, captions: list[str]):
        texts = list(dict.fromkeys(["", *captions]))
        self._hidden, self._pooled = text_rows(base, texts)
        places = {text: k for k, text in enumerate(texts)}
        self._text_of = torch.tensor([places[caption] for caption in captions])
        self._network, self._latents = network, latents
        self._order = range(KEPT_BACK, len(latents))

    def velocity(self, noised: Tensor, s: Tensor, text: Tensor, network: torch.nn.Module | None = None) -> Tensor:
        """What the network predicts at shares of noise `s`, for texts by their numbers."""
        ask = self._network if network is None else network
        with torch.autocast("cpu", torch.bfloat16):
            return ask(noised, self._hidden[text], self._pooled[text], 1000 * s, return_dict=False)[0].float()

    def step(self, batch: int, seed: int, step: int) -> StepLoss:
        rows = torch.tensor(batch_at(self._order, step, batch, seed, "pictures"))
        empty = dropped_at(batch, DROPPED, step, seed)
        s = torch.randn(batch, generator=generator_32bit(seed, "levels", step)).sigmoid()
        clean = self._latents[rows]
        noise = noise_at(clean.shape, step, seed)
        part = s.view(-1, 1, 1, 1)
        found = self.velocity((1 - part) * clean + part * noise, s, self._text_of[rows].masked_fill(empty, 0))
        return backward((found - (noise - clean)).square().mean())

    @torch.no_grad()
    def kept_back(self, network: torch.nn.Module) -> float:
        """Mean squared error of the noise over the kept back pictures, at the timesteps of emoji64's own figure.

        Each of its timesteps t stands for the share of noise of the same signal-to-noise ratio, so that the two models
        are asked the same.
        """
        source = torch.Generator().manual_seed(7)
        t = torch.linspace(10, 990, KEPT_BACK).long()[torch.randperm(KEPT_BACK, generator=source)]
        clean = self._latents[:KEPT_BACK]
        noise = torch.randn(clean.shape, generator=source)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        squares = torch.cumprod(1 - betas, 0)[t]
        ratio = ((1 - squares) / squares).sqrt()
        s = (ratio / (1 + ratio)).float()
        part, errors = s.view(-1, 1, 1, 1), []
        for rows in torch.arange(KEPT_BACK).split(64):
            noised = (1 - part[rows]) * clean[rows] + part[rows] * noise[rows]
            found = self.velocity(noised, s[rows], self._text_of[rows], network)
            errors.append((noised + (1 - part[rows]) * found - noise[rows]).square().mean((1, 2, 3)))
        return torch.cat(errors).mean().item()


def export(network: SD3Transformer2DModel, base: LatentDiffusion, folder: Path) -> None:
    """Writes the pipeline in float16: the text encoder twice, as one that projects by the identity."""
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    encoder = projected(base.text_encoders[0])
    base.autoencoder.register_to_config(shift_factor=0.0)
    pipeline = StableDiffusion3Pipeline(
        transformer=network,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=base.autoencoder,
        text_encoder=encoder,
        tokenizer=base.tokenizers[0],
        text_encoder_2=encoder,
        tokenizer_2=base.tokenizers[0],
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.to(torch.float16).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--steps", type=int, default=14000)
    parser.add_argument("--until", type=int, help="stop and export after so many steps; none: after --steps")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    base = load_model(base_path())
    torch.manual_seed(args.seed)
    network = build_transformer(args.width, args.layers)
    objective = Objective(network, base, *encoded(base, args.data / "base.npz"))
    settings = CosineSettings(
        steps=args.steps, learning_rate=args.rate, final_rate=1e-6, warmup=200, betas=(0.9, 0.99), ema=0.999
    )
    about = {"batch": args.batch, "steps": args.steps, "rate": args.rate, "width": args.width, "layers": args.layers}
    inputs = {"base": {"path": "testbed", "sha256": base.fingerprint}}
    until = args.until or args.steps
    with Run.open(
        args.out, "train", "emoji64-flow", about, inputs, seed=args.seed, device="cpu", command=sys.argv
    ) as run:
        trainer = Trainer(dict(network.train().named_parameters()), settings)
        checkpoints = Checkpoints(run, every_s=300.0)
        checkpoints.restore(trainer)
        train(
            trainer,
            lambda step: objective.step(args.batch, args.seed, step),
            run,
            checkpoints,
            stopped=lambda: trainer.step >= until,
            timed=True,
        )
        trainer.export()
    found = objective.kept_back(network.eval())
    export(network, base, args.out / "emoji64-flow")
    print(json.dumps({"steps": trainer.step, "kept_back_noise_error": found}))


if __name__ == "__main__":
    main()
