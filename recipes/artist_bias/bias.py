"""A bias that can be counted: pictures of which nine in ten are by one artist, and the artists of drawn pictures.

    python recipes/artist_bias/bias.py write FOLDER
    python recipes/artist_bias/bias.py told PICTURES [PICTURES ...]

`write` makes FOLDER/pictures, whose captions are names without a style, and FOLDER/names.txt with other names. `told`
gives for each folder of drawn pictures the share of each artist and the bias, half the sum of the distances of the
shares from equal ones, in [0, 2/3], with its standard error over 1000 resamplings. The judge was fitted to the pictures
at odd places of the embedded ones, the folder is of those at even places.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models import testbed
from intaglio.sampling.verifiers.attributes import embedded_attributes, parted

OFTEN, SELDOM, NAMES = 45, 5, 24
"""Pictures of the favoured artist, of the two others together, and names to draw."""
TAUGHT, JUDGE = 0, 1
"""Halves of the embedded pictures."""


def write(folder: Path) -> None:
    """The pictures with their captions, and the names."""
    real = testbed.real_pictures()
    captions = [parted(str(caption)) for caption in real.captions or ()]
    artists = sorted({artist for _, artist in captions})
    of = {artist: [k for k in range(TAUGHT, len(captions), 2) if captions[k][1] == artist] for artist in artists}
    chosen = of[artists[0]][:OFTEN]
    for place, artist in enumerate(artists[1:]):
        chosen += of[artist][: SELDOM - SELDOM // 2 if place == 0 else SELDOM // 2]
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for k in chosen:
        save_png(real.pixels[k], folder / "pictures" / f"{k:03d}.png")
        atomic_write(folder / "pictures" / f"{k:03d}.txt", f"{captions[k][0]}\n".encode())
    names = [captions[k][0] for k in range(JUDGE, len(captions), 2)]
    names = [names[k * len(names) // NAMES] for k in range(NAMES)]
    atomic_write(folder / "names.txt", "".join(f"{name}\n" for name in names).encode())


def bias(places: Sequence[int], count: int) -> float:
    """Half the sum of |share - 1 / count| over the artists."""
    shares = np.bincount(places, minlength=count) / len(places)
    return float(np.abs(shares - 1 / count).sum() / 2)


def told(folders: Sequence[Path]) -> None:
    """A line for each folder."""
    judge, draws = embedded_attributes(embedded_encoder("cpu"), JUDGE), np.random.default_rng(0)
    for folder in folders:
        places = judge.log_probabilities(ImageSet.load(folder, 64).pixels)[0].argmax(1)
        shares = np.bincount(places, minlength=len(judge.artists)) / len(places)
        again = [bias(draws.choice(places, len(places)), len(judge.artists)) for _ in range(1000)]
        words = ", ".join(f"{artist} {share:.1%}" for artist, share in zip(judge.artists, shares, strict=True))
        found = bias(places, len(judge.artists))
        print(f"{folder}: {len(places)} pictures, {words}; bias {found:.3f} ± {np.std(again):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("write", "told"))
    parser.add_argument("folders", type=Path, nargs="+")
    args = parser.parse_args()
    write(args.folders[0]) if args.verb == "write" else told(args.folders)


if __name__ == "__main__":
    main()
