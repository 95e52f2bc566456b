"""The destroyer of payloads: 0.26 M parameters, from pictures with hidden bits to the pictures without.

    python recipes/emoji64/train_destroyer.py --data FOLDER --out FOLDER
    python recipes/emoji64/train_destroyer.py --data FOLDER --evaluate

After DDSP (arXiv 1912.10070), a generative adversarial network that destroys hidden payloads. First an autoencoder: the
mean squared error to the picture without the payload, pixels in [-1, 1]. Then a discriminator learns to tell what comes
out from real pictures, and the network also has to pass it: mean squared error + 1e-3 softplus(-logit). A quarter of
the pictures hide random bits by LSB replacement at a quarter to one bit a number, the others by `dwt-dct` and by quiet
tiles, of strengths that are drawn. White patterns (`HELD_OUT`) are never seen in training. It sees the base's artists
only; `--evaluate` measures bit errors and PSNR on both. Batches are functions of the step, so that a killed training
goes on.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, softplus

from common import Checkpoint, Log, batch_at, generator_at, pictures
from intaglio.bench.purify.payloads import HELD_OUT, TILES, BlockColours, LowBits, Payload, Projections
from intaglio.files import PACKAGE
from intaglio.images.image_set import to_uint8
from intaglio.metrics.quality import psnr
from intaglio.models.picture_restorers import (
    PictureRestorer,
    load_picture_restorer,
    new_picture_restorer,
    save_picture_restorer,
)
from intaglio.protect.fingerprint.methods.dwt_dct import DwtDct
from train_classifier import moved

EMBEDDED = PACKAGE / "testbed/destroyer/destroyer.safetensors"
LOW_BITS, BLOCKS = 0.25, 0.375
"""Shares of a batch that hide bits by LSB and by dwt-dct; the rest by tiles."""


class Discriminator(nn.Module):
    """Pictures [n, 3, h, w] to logits [n] that are high for real ones: four 4x4 convolutions of stride 2.

    It sees what a 3x3 mean takes away, ten times as large: of whole pictures it told none in 300 steps.
    """

    def __init__(self, width: int = 24):
        super().__init__()
        sizes = [(3, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)]
        layers = [nn.Sequential(nn.Conv2d(i, o, 4, stride=2, padding=1), nn.LeakyReLU(0.2)) for i, o in sizes]
        self.body = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        rough = pixels - avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
        return self.body(10 * rough).mean((1, 2, 3))


def hidden(clean: Tensor, step: int, seed: int) -> Tensor:
    """Pictures with payloads by all algorithms but the one that is held out."""
    low, blocks = round(LOW_BITS * len(clean)), round(BLOCKS * len(clean))
    share, wave, size = torch.rand(3, generator=generator_at(step, seed + 2)).tolist()
    ways: list[tuple[Payload, Tensor]] = [
        (LowBits(0.25 + 0.75 * share), clean[:low]),
        (BlockColours(DwtDct(step=24 + 24 * wave)), clean[low : low + blocks]),
        (Projections(tile=TILES.tile, highest=2 + 4 * wave, strength=1 + 3 * size), clean[low + blocks :]),
    ]
    return torch.cat([payload.hide(some, seed * 1_000_003 + step).pixels for payload, some in ways])


def rate(step: int, args: argparse.Namespace) -> float:
    """Of the network: along half a cosine to a tenth while there is no discriminator, then on to nothing."""
    if step < args.steps:
        return args.rate * min(1.0, (step + 1) / 50) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / args.steps)))
    return 0.1 * args.rate * (1 - (step - args.steps) / max(1, args.adversarial_steps))


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    network, discriminator = new_picture_restorer(args.seed), Discriminator()
    modules = {"network": network, "discriminator": discriminator}
    groups = [{"params": network.parameters()}, {"params": discriminator.parameters(), "lr": 1e-3}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    checkpoint = Checkpoint(args.out / "destroyer.checkpoint.safetensors")
    first, last = checkpoint.restore(modules, optimizer), args.steps + args.adversarial_steps
    data = pictures(args.data / "base.npz")
    log = Log(args.out / "destroyer.jsonl", every=25)
    for step in range(first, min(last, args.stop)):
        optimizer.param_groups[0]["lr"] = rate(step, args)
        clean = moved(data[batch_at(step, args.batch, len(data), args.seed)] / 255, generator_at(step, args.seed))
        given = hidden(clean, step, args.seed)
        found = network(given)
        error = (2 * (found - clean)).square().mean()
        about = {"given": psnr(given, clean).clamp(max=99).mean(), "psnr": psnr(found, clean).clamp(max=99).mean()}
        optimizer.zero_grad(set_to_none=True)
        if step < args.steps:
            error.backward()
        else:
            passed = softplus(-discriminator(found)).mean()
            (error + args.weight * passed).backward()
            for parameter in discriminator.parameters():
                parameter.grad = None
            real, made = discriminator(clean), discriminator(found.detach())
            (softplus(-real) + softplus(made)).mean().backward()
            about |= {"passed": passed, "told": ((real > 0).float().mean() + (made < 0).float().mean()) / 2}
        optimizer.step()
        log(step, error=error.item(), **{name: one.item() for name, one in about.items()})
        if (step + 1) % 100 == 0:
            checkpoint.save(step + 1, modules, optimizer)
            write(network, args, step + 1)
    if args.stop < last:
        checkpoint.save(max(first, args.stop), modules, optimizer)
        return
    write(network, args, last)


def write(network: PictureRestorer, args: argparse.Namespace, step: int) -> None:
    card = {"steps": str(step), "batch": str(args.batch), "seed": str(args.seed), "licence": "CC-BY-SA-4.0"}
    save_picture_restorer(network, args.out / "destroyer.safetensors", card)


@torch.no_grad()
def evaluate(network: PictureRestorer, pixels: Tensor) -> dict[str, dict[str, float]]:
    """Of each algorithm: PSNR in dB with the payload and after the network, and bit errors before and after."""
    clean, found = pixels / 255, {}
    ways = {"lsb": LowBits(), "lsb quarter": LowBits(0.25), "dwt-dct": BlockColours(), "tiles": TILES}
    for name, payload in {**ways, "held out": HELD_OUT}.items():
        errors, ratios = [], []
        for place, some in enumerate(clean.split(64)):
            stego = payload.hide(some, place)
            cleaned = to_uint8(network(stego.pixels)).float() / 255
            errors.append([payload.bit_errors(one, stego.meant, place) for one in (stego.pixels, cleaned)])
            ratios.append([psnr(one, some).clamp(max=99) for one in (stego.pixels, cleaned)])
        (before, after), (with_it, ratio) = (
            [torch.cat([row[k] for row in rows]).mean().item() for k in (0, 1)] for rows in (errors, ratios)
        )
        found[name] = {"psnr_hidden": with_it, "psnr": ratio, "errors_hidden": before, "errors": after}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data.py: base.npz, heldout.npz")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint, the log and destroyer.safetensors")
    parser.add_argument("--evaluate", action="store_true", help="measure instead of training")
    parser.add_argument("--weights", type=Path, default=EMBEDDED, help="the network that --evaluate measures")
    parser.add_argument("--pictures", type=int, default=sys.maxsize, help="of each artist group in --evaluate")
    parser.add_argument("--steps", type=int, default=2000, help="steps as an autoencoder")
    parser.add_argument("--adversarial-steps", type=int, default=500, help="steps with the discriminator, after them")
    parser.add_argument("--weight", type=float, default=1e-3, help="of the discriminator's part")
    parser.add_argument("--stop", type=int, default=sys.maxsize, help="leave off at this step, to be resumed")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.evaluate:
        network, found = load_picture_restorer(args.weights), {}
        for name in ("base", "heldout"):
            given = pictures(args.data / f"{name}.npz")
            order = torch.randperm(len(given), generator=generator_at(0, args.seed))[: args.pictures]
            found[name] = evaluate(network, given[order])
        print(json.dumps(found, indent=1))
        return
    if args.out is None:
        parser.error("--out is needed for training")
    args.out.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
