"""The similarity encoder: 0.48 M parameters, pictures of 64x64 to 128 numbers, equal for copies of one picture.

    python recipes/emoji64/train_encoder.py --data FOLDER --out FOLDER
    python recipes/emoji64/train_encoder.py --data FOLDER --evaluate

Half an hour on one core. It sees the base's artists only. After SSCD (arXiv 2202.10261): every picture is a class
of its own; two copies, one changed a little and one much, must find each other among all others of the batch
(InfoNCE), and a term of entropy pushes each descriptor away from its nearest neighbour. A batch is made of runs of
neighbours in the data's order, which are each other's twins more often than chance has it, so that twins are told
apart. `--evaluate` measures on the held-out artist what the model card says, beside SSIM and raw pixels.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from augment import STRONG, WEAK, augmented, blurred, through_latents
from common import Checkpoint, Log, batch_at, generator_at, pictures
from intaglio.metrics.similarity.encoder import EMBEDDED, Encoder, save_encoder
from intaglio.metrics.similarity.measures import load_similarity
from sets import SAME, Pictures, distances

RUN = 4
"""Neighbours taken together into a batch."""


def info_nce(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Each of the 2n descriptors must pick its partner among the 2n - 1 others."""
    both = torch.cat([a, b])
    likeness = both @ both.T / temperature
    likeness = likeness.masked_fill(torch.eye(len(both), dtype=torch.bool), -torch.inf)
    partner = torch.arange(len(both)).roll(len(a))
    return torch.nn.functional.cross_entropy(likeness, partner)


def crowding(descriptors: Tensor) -> Tensor:
    """Minus the mean log distance to the nearest neighbour (Kozachenko and Leonenko's entropy, up to constants)."""
    with torch.no_grad():
        likeness = descriptors @ descriptors.T
        nearest = likeness.fill_diagonal_(-2).argmax(1)
    return -((descriptors - descriptors[nearest]).square().sum(1) + 1e-6).sqrt().log().mean()


def batch(data: Tensor, step: int, size: int, seed: int) -> Tensor:
    runs = batch_at(step, size // RUN, len(data) // RUN, seed)
    return data[(runs[:, None] * RUN + torch.arange(RUN)).flatten()] / 255


def rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    encoder = Encoder()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=0.05)
    checkpoint = Checkpoint(args.out / "encoder.checkpoint.safetensors")
    first = checkpoint.restore({"encoder": encoder}, optimizer)
    data = pictures(args.data / "base.npz")
    log = Log(args.out / "encoder.jsonl", every=25)

    for step in range(first, min(args.steps, args.stop)):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * rate(step, args.steps)
        source = generator_at(step, args.seed)
        clean = batch(data, step, args.batch, args.seed)
        views = torch.cat([augmented(clean, source, WEAK), augmented(clean, source, STRONG)])
        near, far = encoder(views).chunk(2)
        contrast = info_nce(near, far, args.temperature)
        crowd = 0.5 * (crowding(near) + crowding(far))
        optimizer.zero_grad(set_to_none=True)
        (contrast + args.entropy * crowd).backward()
        optimizer.step()
        hits = ((far @ near.T).argmax(1) == torch.arange(len(far))).float().mean()
        log(step, contrast=contrast.item(), crowd=crowd.item(), hits=hits.item())
        if (step + 1) % 50 == 0:
            checkpoint.save(step + 1, {"encoder": encoder}, optimizer)

    if args.stop < args.steps:
        checkpoint.save(max(first, args.stop), {"encoder": encoder}, optimizer)
        return
    encoder.eval()
    card = {"steps": str(args.steps), "batch": str(args.batch), "seed": str(args.seed), "licence": "Apache-2.0"}
    save_encoder(encoder, args.out / "encoder.safetensors", card)


# --- how well it tells copies from other pictures ---------------------------------------------------------------------


def edited(pixels: Tensor, seed: int) -> Tensor:
    return augmented(pixels, torch.Generator().manual_seed(seed), STRONG)


def degraded(pixels: Tensor, seed: int) -> Tensor:
    """What an autoencoder and an imperfect reconstruction do: blur, blotches, a shift of one pixel."""
    source = torch.Generator().manual_seed(seed)
    out = through_latents(blurred(pixels, 1.2), 0.08, source)
    return out.roll((1, -1), (-2, -1)).clamp(0, 1)


def line_up(artist: Pictures, count: int, others: int = 37) -> Tensor:
    """[count, others + 3] indices: a picture, the two of the artist most like it, and others at random.

    Drawings that the artist used twice, under two names or mirrored, are no other pictures and left out.
    """
    queries = torch.arange(count) * (len(artist.name) // count)
    gap = distances(artist.pixels[queries], artist.pixels)
    gap[gap < SAME] = torch.inf
    twins = gap.topk(2, largest=False).indices
    source = torch.Generator().manual_seed(3)
    chance = torch.rand(gap.shape, generator=source).masked_fill(gap.isinf(), -1).scatter(1, twins, -1)
    return torch.cat([queries[:, None], twins, chance.topk(others).indices], dim=1)


def rates(scores: Tensor) -> dict[str, float]:
    """Of [n, m] scores whose first column is the copy's original, and whose next two are its original's twins.

    Average precision over all pairs, hits at rank one, and copies found at a false-positive rate of 1%.
    """
    order = scores.flatten().argsort(descending=True)
    found = (order % scores.shape[1] == 0).double()
    precision = found.cumsum(0) / torch.arange(1, len(found) + 1)
    copies, twins, others = scores[:, 0], scores[:, 1:3], scores[:, 1:]
    return {
        "average precision": float((precision * found).sum() / found.sum()),
        "top 1": float((scores.argmax(1) == 0).double().mean()),
        "found at 1% FPR": float((copies > others.quantile(0.99)).double().mean()),
        "found at 1% FPR among twins": float((copies > twins.quantile(0.99)).double().mean()),
    }


def pixel_cosine(a: Tensor, b: Tensor) -> Tensor:
    return cosine_similarity((1 - a).flatten(1), (1 - b).flatten(1))


def evaluate(data: Path, weights: Path, count: int) -> dict[str, dict[str, dict[str, float]]]:
    """Copies of pictures the encoder never saw, by an artist it never saw, against `line_up`'s originals."""
    artist = Pictures(data / "heldout.npz")
    originals = torch.from_numpy(artist.pixels).permute(0, 3, 1, 2) / 255
    shown = line_up(artist, count)
    asked = originals[shown[:, 0]]
    measures = {"encoder": load_similarity(weights), "SSIM": load_similarity("ssim"), "pixel cosine": pixel_cosine}
    copies = {"edited": edited(asked, 1), "degraded": degraded(asked, 2)}

    def scored(measure: Callable[[Tensor, Tensor], Tensor], copy: Tensor) -> dict[str, float]:
        pairs = ((one.expand_as(originals[row]), originals[row]) for one, row in zip(copy, shown, strict=True))
        return rates(torch.stack([measure(a, b) for a, b in pairs]))

    return {kind: {name: scored(measure, copy) for name, measure in measures.items()} for kind, copy in copies.items()}


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    columns = list(next(iter(next(iter(results.values())).values())))
    lines = [f"| copies | measure | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for kind, measures in results.items():
        for name, numbers in measures.items():
            lines.append(f"| {kind} | {name} | {' | '.join(f'{numbers[c]:.3f}' for c in columns)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data.py: base.npz, heldout.npz")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint, the log and encoder.safetensors")
    parser.add_argument("--evaluate", action="store_true", help="measure instead of training")
    parser.add_argument("--weights", type=Path, default=EMBEDDED, help="the encoder that --evaluate measures")
    parser.add_argument("--queries", type=int, default=120, help="pictures that --evaluate asks about")
    parser.add_argument("--json", action="store_true", help="print --evaluate's numbers as JSON")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--stop", type=int, default=sys.maxsize, help="leave off at this step, to be resumed")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--temperature", type=float, default=0.07)
    parser.add_argument("--entropy", type=float, default=0.5, help="weight of the entropy term")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.evaluate:
        results = evaluate(args.data, args.weights, args.queries)
        print(json.dumps(results) if args.json else table(results))
        return
    if args.out is None:
        parser.error("--out is needed for training")
    args.out.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
