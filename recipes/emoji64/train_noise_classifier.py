"""Two classifiers of noisy pictures, of 64x64: one that is told the noise level (rRCM), and a plain one as its peer.

    python recipes/emoji64/train_noise_classifier.py told --data FOLDER --out FOLDER
    python recipes/emoji64/train_noise_classifier.py plain --data FOLDER --out FOLDER
    python recipes/emoji64/train_noise_classifier.py list --data FOLDER --out FOLDER

Some five minutes on a core each. Both see the pictures that `train_classifier.py` sees, and not the subjects that it
holds out; both have the same stages and as many updates, and the plain one as many more pictures an update as make up
for the processor time.

`told` first learns without labels: a moved picture must pick its other move, through a running mean of the network, and
a picture with noise must pick the same picture with the same noise at the next lower level, through the network itself,
which is not moved by it. Each picture has its own level. Then it learns the labels from noisy copies, with two terms
that make the copies of a picture agree. `plain` learns the labels from noisy pictures alone, by cross-entropy.

`list` writes the held-out pictures that the testbed ships, with their labels, for the bench.
"""

import argparse
import json
import sys
import time
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from common import Checkpoint, Log, batch_at, generator_at
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet
from intaglio.learning.noise_consistency import UNKNOWN, consistent_loss, info_nce, noise_ladder
from intaglio.models import testbed
from intaglio.models.classifiers import PictureClassifier, new_classifier, save_classifier
from train_classifier import Labelled, labelled, moved, rate

WIDTHS, REPEATS = (24, 48, 128, 256), (1, 1, 1, 1)
"""Shape of both networks: cheap enough for thousands of votes."""
LOWEST, HIGHEST = 0.01, 1.0
"""Ends of the ladder of pre-training, in sigma of pixels in [0, 1]."""
FEWEST, MOST = 20, 80
"""Rungs of the ladder at the first and at the last update."""
WEAKEST, STRONGEST = 0.1, 0.55
"""Sigma of the noise that labels are learnt from, drawn evenly for each picture."""
TEMPERATURE = 0.2
CONSISTENCY, ENTROPY = 10.0, 0.5
COPIES = 2
"""Noisy copies of a picture while the labels are learnt."""
PROJECTED = 128


def noised(pixels: Tensor, sigma: Tensor, source: torch.Generator) -> Tensor:
    """Pictures with noise of each one's own sigma, in the order of memory that is fast."""
    noise = torch.randn(pixels.shape, generator=source)
    return (pixels + sigma[:, None, None, None] * noise).contiguous(memory_format=torch.channels_last)


def drawn(count: int, source: torch.Generator) -> Tensor:
    return WEAKEST + (STRONGEST - WEAKEST) * torch.rand(count, generator=source)


class Projected(nn.Module):
    """A classifier's features through two layers, which are thrown away after pre-training."""

    def __init__(self, classifier: PictureClassifier):
        super().__init__()
        self.classifier = classifier
        width = classifier.widths[-1]
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTED))

    def forward(self, pixels: Tensor, sigma: Tensor) -> Tensor:
        return self.layers(self.classifier.features(pixels, sigma))


def contrast(network: Projected, mean: Projected, clean: Tensor, done: float, source: torch.Generator) -> Tensor:
    """The two terms of pre-training; `done` is the part of its updates that are behind."""
    least = torch.full((len(clean),), LOWEST)
    one, other = (noised(moved(clean, source), least, source) for _ in range(2))
    with torch.no_grad():
        means = mean(one, least), mean(other, least)
    moves = info_nce(network(one, least), means[1], TEMPERATURE) + info_nce(
        network(other, least), means[0], TEMPERATURE
    )
    ladder = noise_ladder(round(FEWEST + done * (MOST - FEWEST)), LOWEST, HIGHEST)
    rung = torch.randint(0, len(ladder) - 1, (len(clean),), generator=source)
    pictures, state = moved(clean, source), source.get_state()
    upper = noised(pictures, ladder[rung + 1], source)
    source.set_state(state)  # the same noise, at the next lower level
    lower = noised(pictures, ladder[rung], source)
    with torch.no_grad():
        target = network(lower, ladder[rung])
    return moves + info_nce(network(upper, ladder[rung + 1]), target, TEMPERATURE)


def agreed(
    classifier: PictureClassifier, data: Labelled, some: Tensor, weight: float, source: torch.Generator
) -> Tensor:
    """The loss of noisy copies of the pictures `some`, of all heads."""
    clean = moved(data.pixels[some] / 255, source)
    sigma = drawn(len(some), source).repeat(COPIES)
    found = classifier(noised(clean.repeat(COPIES, 1, 1, 1), sigma, source), sigma)
    return sum(
        consistent_loss(
            logits.unflatten(0, (COPIES, len(some))), data.labels[head][some], weight * CONSISTENCY, ENTROPY
        )
        for head, logits in found.items()
    )


def crossed(classifier: PictureClassifier, data: Labelled, some: Tensor, source: torch.Generator) -> Tensor:
    """Cross-entropy of noisy pictures, of all heads."""
    found = classifier(noised(moved(data.pixels[some] / 255, source), drawn(len(some), source), source))
    return sum(
        cross_entropy(logits, data.labels[head][some], ignore_index=UNKNOWN, label_smoothing=0.05)
        for head, logits in found.items()
    )


def follow(mean: nn.Module, network: nn.Module, keep: float) -> None:
    for kept, new in zip(mean.parameters(), network.parameters(), strict=True):
        kept.data.lerp_(new.data, 1 - keep)


def train(args: argparse.Namespace, data: Labelled) -> None:
    torch.manual_seed(args.seed)  # of the layers that are thrown away
    told = args.what == "told"
    classifier = new_classifier(data.classes, args.seed, WIDTHS, REPEATS, levels=told)
    network = Projected(classifier) if told else classifier
    network.to(memory_format=torch.channels_last)
    modules = {"network": network} | ({"mean": deepcopy(network)} if told else {})
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=0.05)
    checkpoint = Checkpoint(args.out / f"{args.what}.checkpoint.safetensors")
    first = checkpoint.restore(modules, optimizer)
    steps = args.pretraining + args.steps
    batch = args.batch if told else args.plain_batch
    learned = (~data.held_out).nonzero().flatten()
    log, start = Log(args.out / f"{args.what}.jsonl", every=25), time.process_time()
    for step in range(first, min(steps, args.stop)):
        some = learned[batch_at(step, batch, len(learned), args.seed)]
        source = generator_at(step, args.seed)
        before = told and step < args.pretraining
        place, whole = (step, args.pretraining) if before else (step - args.pretraining, args.steps)
        if not told:
            place, whole = step, steps
        for group in optimizer.param_groups:
            group["lr"] = args.rate * rate(place, whole)
        if before:
            loss = contrast(network, modules["mean"], data.pixels[some] / 255, place / whole, source)
        elif told:
            loss = agreed(classifier, data, some, min(1.0, 2 * place / whole), source)
        else:
            loss = crossed(classifier, data, some, source)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if before:
            follow(modules["mean"], network, 0.99 + 0.009 * place / whole)
        log(step, **{"contrast" if before else "loss": loss.item(), "processor": time.process_time() - start})
        if (step + 1) % 50 == 0:
            checkpoint.save(step + 1, modules, optimizer)
    if args.stop < steps:
        checkpoint.save(max(first, args.stop), modules, optimizer)
        return
    card = {"steps": str(steps), "batch": str(batch), "seed": str(args.seed), "licence": "CC-BY-SA-4.0"}
    save_classifier(classifier.eval(), args.out / f"noise-{args.what}.safetensors", card, eight_bits=True)


def list_held_out(folder: Path, data: Labelled) -> None:
    """Writes the held-out pictures among those that ship, by content, with the names of their classes."""
    shipped = set(testbed.controls_wide().hashes)
    for name in testbed.sets():
        parts = testbed.few_shot(name)
        for images in (parts.members, parts.holdouts, parts.near, parts.controls, parts.other_hands):
            shipped |= set(images.hashes)
    held = data.held_out.nonzero().flatten()
    images = ImageSet.from_pixels(data.pixels[held].float() / 255, [f"{place}.png" for place in range(len(held))])
    found = {}
    for place, content in zip(held.tolist(), images.hashes, strict=True):
        said = {head: int(labels[place]) for head, labels in data.labels.items()}
        if content in shipped:
            found[content] = {head: data.classes[head][one] for head, one in said.items() if one != UNKNOWN}
    atomic_write(folder / "held_out.json", (json.dumps(dict(sorted(found.items())), indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("told", "plain", "list"))
    parser.add_argument("--data", type=Path, required=True, help="folder of data.py: base.npz, heldout.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint, the log and the result")
    parser.add_argument("--pretraining", type=int, default=350, help="updates without labels")
    parser.add_argument("--steps", type=int, default=500, help="updates with labels; `plain` takes both numbers so")
    parser.add_argument("--stop", type=int, default=sys.maxsize, help="leave off at this update, to be resumed")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--plain-batch", type=int, default=192, help="pictures of an update of `plain`")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data = labelled(args.data)
    if args.what == "list":
        list_held_out(args.out, data)
    else:
        train(args, data)


if __name__ == "__main__":
    main()
