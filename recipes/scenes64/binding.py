"""Binding: the share of balanced two-object prompts whose drawn picture shows what was asked, by the exact parser.

    python recipes/scenes64/binding.py [--model FOLDER]

A line for each guidance scale: `bound`, both entities there with their own colours; `placed`, they stand in the
relation, of prompts with one other than `and`; `counted`, two objects; `correct`, all of it; with the standard error of
each share.
"""

import argparse
from collections.abc import Sequence
from math import sqrt

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample
from intaglio.sampling.scenes.planted import balanced_scene
from intaglio.sampling.scenes.recognition import SceneCheck
from intaglio.sampling.verifiers.scene import SceneVerifier

PROMPT_SEED = 0


def checks(model: LatentDiffusion, count: int, guidance: float, steps: int) -> list[tuple[bool, SceneCheck]]:
    """For each of the first balanced prompts whether it asks for places, and what its picture meets."""
    scenes = [balanced_scene(PROMPT_SEED, index) for index in range(count)]
    prompts = [scene.caption for scene in scenes]
    pixels = sample(model, prompts, list(range(count)), steps=steps, guidance_scale=guidance, batch=16).pixels
    found = SceneVerifier().checks(pixels, prompts)
    return [(scene.relation != "and", check) for scene, check in zip(scenes, found, strict=True)]


def line(found: Sequence[tuple[bool, SceneCheck]]) -> str:
    """The shares in words."""
    shares = {
        "bound": [all(one.bound) for _, one in found],
        "placed": [one.placed for asked, one in found if asked],
        "counted": [one.counted for _, one in found],
        "correct": [one.correct for _, one in found],
    }
    return ", ".join(f"{name} {_share(values)}" for name, values in shares.items())


def _share(values: Sequence[bool]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.2f} ± {sqrt(mean * (1 - mean) / len(values)):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes64")
    parser.add_argument("--like", default="emoji64", help="what gives the components that the model lacks")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0, 7.5])
    args = parser.parse_args()
    model = load_model(args.model, like=args.like)
    for guidance in args.guidance:
        print(f"guidance {guidance:g}: {line(checks(model, args.count, guidance, args.steps))}")


if __name__ == "__main__":
    main()
