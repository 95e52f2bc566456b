"""The losses of models tuned again without some of their pictures: the truth of `intaglio bench influence`.

    python recipes/emoji64/retrain_subsets.py --work FOLDER [--out FOLDER] [--part 0/2] [--most N]

384 tunes of the embedded base, some 25 seconds each on one idle core with the measuring: 96 random halves of forty
members by two seeds, 32 tunes on all of them, and one without each member by four seeds. Every model's losses are a
file of `--work`, so that a killed run goes on, and several processes share the work with `--part`. What is there when
the run ends is written to `--out`, such as src/intaglio/testbed/influence; the file says of each model what it was
tuned on, so that a part of the models serves too.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from intaglio.bench.influence.retrained import Retraining, asked, drawn_prompts, retrainings
from intaglio.bench.kit.fixed_losses import measured
from intaglio.denoising.examples import Examples
from intaglio.files import atomic_path
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample


def drawn(base: LatentDiffusion, work: Path) -> ImageSet:
    """Pictures by the model of all members, drawn once."""
    path, prompts = work / "drawn.npz", drawn_prompts()
    if not path.exists():
        model = retrainings()[0].model(base)
        images = sample(model, prompts, list(range(len(prompts))), steps=30, guidance_scale=3.0)
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, drawn=to_uint8(images.pixels).numpy())
    with np.load(path) as stored:
        pixels = torch.from_numpy(stored["drawn"]).float() / 255
    return ImageSet.from_pixels(pixels, [f"drawn-{place:02d}.png" for place in range(len(pixels))], list(prompts))


def measure(base: LatentDiffusion, work: Path, one: Retraining, examples: Examples) -> None:
    """The losses of one model, kept."""
    found = measured(one.model(base), examples)
    with atomic_path(work / f"{one.key}.npy") as partial, open(partial, "wb") as file:
        np.save(file, found.astype(np.float32))


def gather(work: Path, out: Path) -> None:
    """All that is there, as one file."""
    known = [one for one in retrainings() if (work / f"{one.key}.npy").exists()]
    with np.load(work / "drawn.npz") as stored:
        pictures = stored["drawn"]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "retrained.npz") as partial, open(partial, "wb") as file:
        np.savez_compressed(
            file,
            kinds=np.array([one.kind for one in known]),
            places=np.array([one.place for one in known], np.int16),
            seeds=np.array([one.seed for one in known], np.int16),
            kept=np.stack([one.kept for one in known]),
            losses=np.stack([np.load(work / f"{one.key}.npy") for one in known]),
            drawn=pictures,
        )
    print(f"{out / 'retrained.npz'}: {len(known)} of {len(retrainings())} models")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", default="0/1", help="PLACE/COUNT of the processes that share the work")
    parser.add_argument("--most", type=int, default=384, help="models to make in this run")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    place, count = (int(number) for number in args.part.split("/"))
    base = load_model(testbed.base_path())
    examples = asked(base, drawn(base, args.work))
    left = [one for one in retrainings()[place::count] if not (args.work / f"{one.key}.npy").exists()]
    for done, one in enumerate(left[: args.most], 1):
        measure(base, args.work, one, examples)
        print(f"{one.key}: {done} of {len(left)}", flush=True)
    if args.out:
        gather(args.work, args.out)


if __name__ == "__main__":
    main()
