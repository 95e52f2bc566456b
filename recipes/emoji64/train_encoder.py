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
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from augment import STRONG, WEAK, augmented, blurred, through_latents
from common import Checkpoint, Log, batch_at, generator_at, pictures
from intaglio.metrics.encoder import EMBEDDED, Encoder, load_encoder, save_encoder
from intaglio.metrics.quality import ssim
from sets import Pictures

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

    for step in range(first, args.steps):
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


def questioned(artist: Pictures, count: int) -> tuple[list[int], list[int]]:
    """`count` pictures spread over all kinds, and for each the two pictures of the artist most like it."""
    queries = list(range(0, len(artist.name), len(artist.name) // count))[:count]
    gap = torch.from_numpy(artist.distance[queries]).clone()
    gap[torch.arange(count), queries] = torch.inf
    return queries, gap.topk(2, largest=False).indices.flatten().tolist()


def rates(scores: Tensor, truth: Tensor, twins: Tensor) -> dict[str, float]:
    """Average precision over all pairs, hits at rank one, and the copies found at a false-positive rate of 1%."""
    order = scores.flatten().argsort(descending=True)
    found = truth.flatten()[order].double()
    precision = found.cumsum(0) / torch.arange(1, len(found) + 1)
    first = truth.gather(1, scores.argmax(1, keepdim=True)).double().mean()
    return {
        "average precision": float((precision * found).sum() / found.sum()),
        "top 1": float(first),
        "found at 1% FPR": float((scores[truth] > scores[~truth].quantile(0.99)).double().mean()),
        "found at 1% FPR among twins": float((scores[truth] > scores[twins].quantile(0.99)).double().mean()),
    }


def ssim_matrix(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([ssim(row.expand_as(b), b) for row in a])


def cosine_matrix(a: Tensor, b: Tensor) -> Tensor:
    flat_a, flat_b = (normalize((1 - x).flatten(1), dim=1) for x in (a, b))
    return flat_a @ flat_b.T


def evaluate(data: Path, weights: Path, count: int) -> dict[str, dict[str, dict[str, float]]]:
    encoder = load_encoder(weights)
    artist = Pictures(data / "heldout.npz")
    queries, alike = questioned(artist, count)
    gallery = sorted({*queries, *alike})
    originals = torch.from_numpy(artist.pixels[gallery]).permute(0, 3, 1, 2) / 255
    asked = torch.from_numpy(artist.pixels[queries]).permute(0, 3, 1, 2) / 255
    place = {index: column for column, index in enumerate(gallery)}
    truth = torch.zeros(len(queries), len(gallery), dtype=torch.bool)
    truth[torch.arange(len(queries)), [place[q] for q in queries]] = True
    twins = torch.zeros_like(truth)
    twins[torch.arange(len(queries)).repeat_interleave(2), [place[i] for i in alike]] = True
    measures = {
        "encoder": lambda a, b: encoder(a) @ encoder(b).T,
        "ssim": ssim_matrix,
        "pixel cosine": cosine_matrix,
    }
    copies = {"edited": edited(asked, 1), "degraded": degraded(asked, 2)}
    return {
        kind: {name: rates(measure(copy, originals), truth, twins) for name, measure in measures.items()}
        for kind, copy in copies.items()
    }


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
