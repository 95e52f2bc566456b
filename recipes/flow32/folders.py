"""The pictures of emoji64 as a folder a class, which `intaglio flow train --classes` takes.

    python recipes/flow32/folders.py --data FOLDER --out FOLDER

`--data` holds the `base.npz` of `recipes/emoji64/data.py`: 6,967 pictures by three artists, who are the classes.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    data = np.load(args.data / "base.npz")
    for place, (pixels, artist) in enumerate(zip(data["pixels"], data["artist"], strict=True)):
        folder = args.out / str(artist)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{place:05d}.png")
    print(args.out)


if __name__ == "__main__":
    main()
