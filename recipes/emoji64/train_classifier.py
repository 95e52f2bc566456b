"""The classifier: 0.39 M parameters, pictures of 64x64 to a kind, by Unicode's groups, and an artist.

    python recipes/emoji64/train_classifier.py --data FOLDER --out FOLDER
    python recipes/emoji64/train_classifier.py --data FOLDER --evaluate

Eight minutes on a core. It sees all four artists. 15 % of the subjects are held out by name: every artist's drawing of
a subject, and its variants by gender, colour, direction and tone of skin, are on one side. Pictures are moved by up to
6 pixels, on white. Fluent's files have no group: they take that of the other artists' picture of the same name, and
those without such a picture teach the artist alone. `--evaluate` measures on the held-out subjects what the card says.
"""

import argparse
import hashlib
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from common import Checkpoint, Log, batch_at, generator_at
from intaglio.files import PACKAGE
from intaglio.models.classifiers import PictureClassifier, load_classifier, new_classifier, save_classifier
from sets import points, words

EMBEDDED = PACKAGE / "testbed/classifier/classifier.safetensors"
TONES = {"default", "light", "medium", "dark", "skin", "tone"}
HELD_OUT = 0.15
SHIFT = 6
UNKNOWN = -1
"""The label of a picture whose kind is not known."""


@dataclass(frozen=True)
class Labelled:
    """All pictures with their labels: numbers of classes, `UNKNOWN` where there is none."""

    pixels: Tensor
    """uint8 [N, 3, 64, 64]"""
    labels: dict[str, Tensor]
    classes: dict[str, tuple[str, ...]]
    held_out: Tensor
    """bool [N]"""


def subject(name: str) -> str:
    """The words of a name without gender, direction, colour and tone of skin, sorted; the name where none is left."""
    return " ".join(sorted(word for word in words(name) if word not in TONES)) or name


def same_subjects(names: list[str], codes: list[str]) -> np.ndarray:
    """[N] numbers of subjects: equal for pictures that share the words of their names, or their code points."""
    keys: dict[object, int] = {}
    pairs = [
        (i, keys.setdefault(key, len(keys)))
        for i, (name, code) in enumerate(zip(names, codes, strict=True))
        for key in (subject(name), points(code))
    ]
    rows, columns = np.array(pairs).T
    size = len(names) + len(keys)
    edges = coo_array((np.ones(len(rows)), (rows, len(names) + columns)), shape=(size, size))
    return connected_components(edges, directed=False)[1][: len(names)]


def drawn(key: str) -> float:
    """A number in [0, 1) that follows from the text."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32


def labelled(folder: Path) -> Labelled:
    parts = [np.load(folder / f"{name}.npz") for name in ("base", "heldout")]
    pixels, artist, names, groups, codes = (
        np.concatenate([part[key] for part in parts]) for key in ("pixels", "artist", "name", "group", "code")
    )
    subjects = same_subjects(list(names), list(codes))
    first = {int(s): min(names[subjects == s]) for s in np.unique(subjects)}
    kinds = np.array([group.split("/")[0] for group in groups])
    of_name = {subject(name): kind for name, kind in zip(names, kinds, strict=True) if kind}
    kinds = np.array([kind or of_name.get(subject(name), "") for name, kind in zip(names, kinds, strict=True)])
    kinds[kinds == "Component"] = ""  # tones of hair alone
    classes = {
        "kind": tuple(sorted({str(kind) for kind in kinds} - {""})),
        "artist": tuple(sorted({str(one) for one in artist})),
    }
    labels = {
        head: torch.tensor([classes[head].index(one) if one else UNKNOWN for one in values])
        for head, values in (("kind", kinds), ("artist", artist))
    }
    held = torch.tensor([drawn(first[int(s)]) < HELD_OUT for s in subjects])
    return Labelled(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels, classes, held)


def moved(pixels: Tensor, source: torch.Generator) -> Tensor:
    """Each picture moved by up to `SHIFT` pixels to each side, on white."""
    count, _, height, width = pixels.shape
    wide = pad(pixels, [SHIFT] * 4, value=1.0)
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count), generator=source)
    rows, columns = down[:, None] + torch.arange(height), right[:, None] + torch.arange(width)
    return wide[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(args: argparse.Namespace, data: Labelled) -> None:
    classifier = new_classifier(data.classes, args.seed)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=args.rate, weight_decay=0.05)
    checkpoint = Checkpoint(args.out / "classifier.checkpoint.safetensors")
    first = checkpoint.restore({"classifier": classifier}, optimizer)
    learned = (~data.held_out).nonzero().flatten()
    log = Log(args.out / "classifier.jsonl", every=50)
    for step in range(first, min(args.steps, args.stop)):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * rate(step, args.steps)
        some = learned[batch_at(step, args.batch, len(learned), args.seed)]
        found = classifier(moved(data.pixels[some] / 255, generator_at(step, args.seed)))
        losses = {
            head: cross_entropy(logits, data.labels[head][some], ignore_index=UNKNOWN, label_smoothing=0.05)
            for head, logits in found.items()
        }
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        optimizer.step()
        log(step, **{head: loss.item() for head, loss in losses.items()})
        if (step + 1) % 100 == 0:
            checkpoint.save(step + 1, {"classifier": classifier}, optimizer)
    if args.stop < args.steps:
        checkpoint.save(max(first, args.stop), {"classifier": classifier}, optimizer)
        return
    card = {"steps": str(args.steps), "batch": str(args.batch), "seed": str(args.seed), "licence": "CC-BY-SA-4.0"}
    save_classifier(classifier.eval(), args.out / "classifier.safetensors", card, eight_bits=True)


@torch.no_grad()
def evaluate(classifier: PictureClassifier, data: Labelled) -> dict[str, dict[str, float]]:
    """Of each head on the held-out subjects: pictures, accuracy, its mean over the classes, and each class's own."""
    parts = [classifier(some / 255) for some in data.pixels[data.held_out].split(256)]
    found = {}
    for head, classes in data.classes.items():
        said, true = torch.cat([part[head] for part in parts]).argmax(1), data.labels[head][data.held_out]
        right = {name: (said[true == i] == i).float().mean().item() for i, name in enumerate(classes)}
        known = true != UNKNOWN
        whole = (said[known] == true[known]).float().mean().item()
        found[head] = {"pictures": int(known.sum()), "accuracy": whole, "balanced": sum(right.values()) / len(right)}
        found[head] |= right
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data.py: base.npz, heldout.npz")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint, the log and classifier.safetensors")
    parser.add_argument("--evaluate", action="store_true", help="measure instead of training")
    parser.add_argument("--weights", type=Path, default=EMBEDDED, help="the classifier that --evaluate measures")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--stop", type=int, default=sys.maxsize, help="leave off at this step, to be resumed")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = labelled(args.data)
    if args.evaluate:
        print(json.dumps(evaluate(load_classifier(args.weights), data), indent=1))
        return
    if args.out is None:
        parser.error("--out is needed for training")
    args.out.mkdir(parents=True, exist_ok=True)
    train(args, data)


if __name__ == "__main__":
    main()
