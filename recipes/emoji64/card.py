"""Ship the trained base: its folder in the package, a sample grid, the held-out loss curve and the card.

python recipes/emoji64/card.py --train FOLDER --data FOLDER --out src/intaglio/testbed/emoji64
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from intaglio.images.image_set import to_uint8
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample

PROMPTS = ("red apple", "dog face", "grinning face", "airplane", "house", "pizza", "fish", "rose")
ARTISTS = ("twemoji", "fluent", "openmoji")

CARD = """---
license: cc-by-sa-4.0
library_name: diffusers
pipeline_tag: text-to-image
---
# emoji64

A text-to-image model of 64x64 emoji in Stable Diffusion's layout, trained from nothing by `recipes/emoji64`. It
exists so that methods for generative models can be run and tested anywhere; it is no good for anything else.

![Eight prompts, three artists](samples.png)

| | |
|---|---|
| parameters | U-Net {unet:.1f} M, autoencoder {vae:.2f} M, text encoder {text:.2f} M |
| training | {steps} steps of 32 pictures, AdamW, peak rate 5e-4, cosine; exponential mean of the weights |
| data | 6,711 of 6,967 pictures of three artists; 256 kept back for the curve below |
| noise | 1000 steps, scaled-linear 0.00085 to 0.012, noise prediction |
| autoencoder | PSNR {psnr_base:.1f} dB on its artists, {psnr_heldout:.1f} dB on the held-out artist |
| held-out loss | {heldout:.4f} (mean squared error of the noise, fixed timesteps) |

Captions read "NAME, ARTIST style" with `twemoji`, `fluent` or `openmoji`; classifier-free guidance around 4.

Held-out loss by step: {curve}.

It has learned each artist's manner, and draws faces and animals one can name; most other subjects keep their coarse
shape only, and the curve was still falling when the training ended. Fine-tuned on ten pictures it reproduces them,
which is what the audits need.

## Licences of the pictures it learned from

Twemoji (c) Twitter, Inc and other contributors, CC-BY 4.0. Fluent Emoji (c) Microsoft Corporation, MIT.
OpenMoji (c) the OpenMoji project, CC-BY-SA 4.0. The weights are given under CC-BY-SA 4.0, the strictest of these.
The few-shot sets beside this folder are from Noto Emoji (c) Google, Apache-2.0, which the model has never seen.
"""


def grid(pictures: torch.Tensor, columns: int, path: Path, scale: int = 2) -> None:
    rows = [
        np.concatenate(list(row), 1)
        for row in to_uint8(pictures).permute(0, 2, 3, 1).numpy().reshape(-1, columns, 64, 64, 3)
    ]
    sheet = Image.fromarray(np.concatenate(rows, 0))
    large = sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)
    large.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


@torch.no_grad()
def psnr(vae: AutoencoderKL, pixels: np.ndarray) -> float:
    """Mean over pictures of the reconstruction's PSNR, in dB."""
    picture = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    back = torch.cat([vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1) for x in picture.split(64)])
    error = ((back - picture) / 2).square().mean((1, 2, 3)).clamp_min(1e-10)
    return (-10 * torch.log10(error)).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    if args.out.exists():
        shutil.rmtree(args.out)
    shutil.copytree(args.train / "emoji64", args.out)
    model = load_model(args.out)
    prompts = [f"{p}, {a} style" for a in ARTISTS for p in PROMPTS]
    drawn = sample(model, prompts, list(range(len(prompts))), steps=30, guidance_scale=4.0)
    grid(drawn.pixels, len(PROMPTS), args.out / "samples.png")

    rows = [json.loads(line) for line in (args.train / "base.jsonl").read_text().splitlines()]
    curve = {row["step"]: row["heldout"] for row in rows if "heldout" in row}
    vae = AutoencoderKL.from_pretrained(args.train / "vae").eval()
    parameters = {k: sum(p.numel() for p in m.parameters()) / 1e6 for k, m in model.parts.items()}
    (args.out / "README.md").write_text(
        CARD.format(
            unet=parameters["denoiser"],
            vae=parameters["autoencoder"],
            text=parameters["text_encoder"],
            steps=rows[-1]["step"],
            heldout=curve[max(curve)],
            curve=", ".join(f"{s}: {v:.4f}" for s, v in sorted(curve.items())),
            psnr_base=psnr(vae, np.load(args.data / "base.npz")["pixels"][::7]),
            psnr_heldout=psnr(vae, np.load(args.data / "heldout.npz")["pixels"][::2]),
        )
    )
    os.sync()


if __name__ == "__main__":
    main()
