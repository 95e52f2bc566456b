"""The extractor of bits: 0.29 M parameters, pictures of 64x64 to 32 logits, whitened.

    python recipes/emoji64/train_extractor.py --data FOLDER --out FOLDER
    python recipes/emoji64/train_extractor.py --data FOLDER --evaluate

A quarter of an hour on one core. After HiDDeN (arXiv 1807.09937): an encoder changes a picture by a message, the
extractor reads it after one of several attacks, and both learn the cross-entropy of the bits. The change has a fixed
root mean square, which falls during the training, in place of a loss on pictures and its weight. Gradients pass through
JPEG and rounding as if they were not there. The encoder is thrown away. In the end the last layer is whitened on the
pictures of the training, unmarked. It sees the base's artists only; `--evaluate` says how white the logits of both are.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, pixel_shuffle, pixel_unshuffle

from common import Checkpoint, Log, batch_at, generator_at, pictures
from intaglio.bench.kit.attacks import brightened, cropped
from intaglio.files import PACKAGE
from intaglio.images.filters import blurred, jpeg, noised, resized
from intaglio.models.bit_extractors import (
    BitExtractor,
    load_bit_extractor,
    new_bit_extractor,
    save_bit_extractor,
    whiten,
)
from train_classifier import moved

EMBEDDED = PACKAGE / "testbed/extractor/extractor.safetensors"
WIDTH = 48
TILE, LOW = 16, 5.0
"""Side of a bit's tile in pixels, and the highest of its waves at first, in periods a side."""
LOUD, QUIET = 0.12, 0.025
"""Root mean square of the change at first, and from two thirds of the steps on."""


class MessageEncoder(nn.Module):
    """Pictures [n, 3, 64, 64] and messages [n, m] of -1 and 1 to changes [n, 3, 64, 64] of root mean square 1.

    The change is a sum of tiles, one a bit with the bit's sign, and of what a small network makes of picture and
    message, which is nothing at first: tiles give every bit a texture of its own to begin with.
    """

    def __init__(self, bits: int):
        super().__init__()
        waves = torch.randn(bits, 3, TILE, TILE // 2 + 1, dtype=torch.complex64)
        place = torch.fft.fftfreq(TILE) * TILE
        distance = (place[:, None] ** 2 + torch.arange(TILE // 2 + 1) ** 2).sqrt()
        tiles = torch.fft.irfft2(waves * ((distance > 0) & (distance <= LOW)), (TILE, TILE))
        self.tiles = nn.Parameter(tiles / tiles.flatten(1).std(1).view(-1, 1, 1, 1) / bits**0.5)
        sizes = [(12 + bits, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH)]
        layers = [
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()) for i, o in sizes
        ]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(WIDTH + bits, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, pixels: Tensor, messages: Tensor) -> Tensor:
        small = pixel_unshuffle(1 - pixels, 2)
        plane = messages[:, :, None, None].expand(-1, -1, *small.shape[-2:])
        own = pixel_shuffle(self.last(torch.cat([self.body(torch.cat([small, plane], 1)), plane], 1)), 2)
        found = own + torch.einsum("nm,mchw->nchw", messages, self.tiles).repeat(1, 1, 64 // TILE, 64 // TILE)
        return found / (found.square().mean((1, 2, 3), keepdim=True) + 1e-8).sqrt()


def strength(step: int, steps: int) -> float:
    """The root mean square of the change: `LOUD` for a tenth of the steps, then geometrically down to `QUIET`."""
    share = min(1.0, max(0.0, (step / steps - 0.1) / 0.55))
    return LOUD * (QUIET / LOUD) ** share


def straight_through(changed: Tensor, pixels: Tensor) -> Tensor:
    """`changed`, with the gradient that `pixels` would have."""
    return pixels + (changed - pixels).detach()


def attacked(pixels: Tensor, step: int, source: torch.Generator) -> Tensor:
    """Eight parts of the batch: two only rounded, two through JPEG, and one each of four other attacks."""
    draws = torch.rand(8, generator=source).tolist()
    parts = list(pixels.chunk(8))
    for k in (2, 3):
        parts[k] = straight_through(jpeg(parts[k].detach().clamp(0, 1), 40 + round(55 * draws[k])), parts[k])
    parts[4] = blurred(parts[4], 0.3 + 0.8 * draws[4])
    parts[5] = cropped(parts[5]) if draws[5] < 0.5 else resized(parts[5], draws[5])
    parts[6] = noised(parts[6], 0.06 * draws[6], step)
    parts[7] = brightened(parts[7]) if draws[7] < 0.5 else (parts[7] * (1.5 - draws[7])).clamp(0, 1)
    found = torch.cat(parts)
    return straight_through((found.clamp(0, 1) * 255).round() / 255, found)


def rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))


def messages_of(step: int, count: int, bits: int, seed: int) -> Tensor:
    """[count, bits] of -1 and 1."""
    return torch.randint(0, 2, (count, bits), generator=generator_at(step, seed + 1)) * 2.0 - 1


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    encoder, extractor = MessageEncoder(args.bits), new_bit_extractor(args.bits, args.seed)
    modules = {"encoder": encoder, "extractor": extractor}
    optimizer = torch.optim.AdamW([p for m in modules.values() for p in m.parameters()], lr=args.rate)
    checkpoint = Checkpoint(args.out / "extractor.checkpoint.safetensors")
    first = checkpoint.restore(modules, optimizer)
    data = pictures(args.data / "base.npz")
    log = Log(args.out / "extractor.jsonl", every=25)
    for step in range(first, min(args.steps, args.stop)):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * rate(step, args.steps)
        source = generator_at(step, args.seed)
        clean = moved(data[batch_at(step, args.batch, len(data), args.seed)] / 255, source)
        meant = messages_of(step, len(clean), args.bits, args.seed)
        marked = (clean + strength(step, args.steps) * encoder(clean, meant)).clamp(0, 1)
        logits = extractor(attacked(marked, step, source))
        loss = binary_cross_entropy_with_logits(logits, (meant > 0).float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        right = ((logits > 0) == (meant > 0)).float().view(8, -1).mean(1)
        ratio = -10 * math.log10((marked - clean).square().mean().item())
        log(step, loss=loss.item(), plain=right[:2].mean().item(), jpeg=right[2:4].mean().item(), psnr=ratio,
            blur=right[4].item(), size=right[5].item(), noise=right[6].item(), light=right[7].item())  # fmt: skip
        if (step + 1) % 100 == 0:
            checkpoint.save(step + 1, modules, optimizer)
    if args.stop < args.steps:
        checkpoint.save(max(first, args.stop), modules, optimizer)
        return
    whiten(extractor, data / 255)
    card = {"steps": str(args.steps), "batch": str(args.batch), "seed": str(args.seed), "licence": "CC-BY-SA-4.0"}
    save_bit_extractor(extractor, args.out / "extractor.safetensors", card)


@torch.no_grad()
def evaluate(extractor: BitExtractor, pixels: Tensor) -> dict[str, float]:
    """How far logits of unmarked pictures are from mean 0 and covariance I."""
    logits = torch.cat([extractor(some / 255) for some in pixels.split(256)]).double()
    covariance = torch.cov(logits.T, correction=0)
    off = covariance - torch.diag(covariance.diagonal())
    ones = (logits > 0).double().mean(0)
    return {
        "pictures": len(logits),
        "mean": logits.mean(0).abs().max().item(),
        "variance_least": covariance.diagonal().min().item(),
        "variance_most": covariance.diagonal().max().item(),
        "covariance": off.abs().max().item(),
        "ones_least": ones.min().item(),
        "ones_most": ones.max().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data.py: base.npz, heldout.npz")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint, the log and extractor.safetensors")
    parser.add_argument("--evaluate", action="store_true", help="measure instead of training")
    parser.add_argument("--weights", type=Path, default=EMBEDDED, help="the extractor that --evaluate measures")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--stop", type=int, default=sys.maxsize, help="leave off at this step, to be resumed")
    parser.add_argument("--batch", type=int, default=32, help="pictures of a step, a multiple of 8")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.evaluate:
        artists = {name: pictures(args.data / f"{name}.npz") for name in ("base", "heldout")}
        extractor = load_bit_extractor(args.weights)
        print(json.dumps({name: evaluate(extractor, pixels) for name, pixels in artists.items()}, indent=1))
        return
    if args.out is None:
        parser.error("--out is needed for training")
    args.out.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
