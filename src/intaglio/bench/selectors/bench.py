"""`intaglio bench selectors`: planted patches that are to be shown, and emoji told by artist from a part of each."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from intaglio.bench.kit.distinct_pictures import distinct_pictures
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.selectors.planted_patches import planted_patches, precision, recall
from intaglio.bench.selectors.revealed import insertions
from intaglio.explain.selectors.family import PixelSelector
from intaglio.images.image_set import ImageSet
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

VERB = "explain selectors"
CORE, ALONE = "comet", "without-detector"
SEEDS, QUICK_SEEDS = 5, 2
COUNT, SIDE, PATCH = 640, 32, 4
"""Planted pictures, their side, and that of a patch, in pixels: two of them are 3% of a picture."""
PLANTED: Mapping[str, Any] = {"area": 0.04, "epochs": 16, "widths": (16, 32, 64)}
"""Settings on planted pictures."""
QUICK: Mapping[str, Any] = {"epochs": 20, "widths": (32, 64, 128)}
"""Settings on emoji with --quick."""
ASKED = 40
"""Held-out emoji that are revealed, at most."""
MEANS = ("recall", "precision", "area", "accuracy", "plain_on_left_out", "second_on_unshown", "seconds")


@dataclass(frozen=True, kw_only=True)
class SelectorsBench:
    """Pixels that classifiers choose: whether they are all that tells the label, and what that costs.

    Planted pictures have two patches of the colour of their class, and two grey ones; a mask may show 4% of a picture,
    and both patches are 3%. `recall` is the share of their pixels of which a mask shows half or more, `precision` the
    share of what is shown that is of them, a mean over seeds. Emoji are named by artist: `insertion` is the area under
    the probability of the plain classifier while a held-out picture is revealed in the order of its mask, beside that
    in the order of the plain classifier's own Grad-CAM.
    """

    quick: bool = False
    """Two seeds, and 340 emoji of three artists, half as wide, in 20 epochs: minutes. In full five seeds, and all that
    ship."""
    seed: int = 0
    """Of the first planted pictures, and of the emoji's parts and networks, from 0."""
    device: str = "cpu"
    """Where the networks compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row under `rows`."""
        seeds = list(range(self.seed, self.seed + (QUICK_SEEDS if self.quick else SEEDS)))
        emoji = default_methods(VERB, seed=self.seed, **(QUICK if self.quick else {}))
        settings = {
            "seeds": seeds,
            "planted": dict(PLANTED),
            "emoji": {name: asdict(one) for name, one in emoji.items()},
        }
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "selectors", settings, {}, **about) as run:
            if run.status != "done":
                self._measure(seeds, emoji, run)
                run.finish(figures_of(run.recorded("planted"), run.recorded("emoji"), run.seconds))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The planted rows, then the emoji, as tables."""
        planted = [
            (name, *(f"{one[what]:.2f}" for what in MEANS[:-1]), f"{one['seconds']:.0f}")
            for name, one in figures["rows"]["planted"].items()
        ]
        heads = ("planted", "recall", "precision", "area", "accuracy", "left out", "not shown", "s")
        emoji = [_emoji_words(name, one) for name, one in figures["rows"]["emoji"].items()]
        further = ("emoji", "accuracy", "beside plain", "area", "left out", "not shown", "insertion", "beside Grad-CAM")
        return f"{aligned([heads, *planted])}\n\n{aligned([further, *emoji])}"

    def _measure(self, seeds: Sequence[int], emoji: Mapping[str, PixelSelector], run: Run) -> None:
        left = [(seed, name) for seed in seeds for name in emoji if f"{seed} {name}" not in run.recorded("planted")]
        names = [name for name in emoji if name not in run.recorded("emoji")]
        total = (len(seeds) + 1) * len(emoji)
        with run.progress(total, "rows", total - len(left) - len(names)) as progress:
            for seed, name in left:
                method = default_methods(VERB, seed=seed, **PLANTED)[name]
                row = planted_row(method, COUNT, SIDE, PATCH, seed, self.device)
                run.record("planted", f"{seed} {name}", {"method": name, "seed": seed, **row})
                progress.advance()
            images = emoji_pictures(self.quick)
            for name in names:
                run.record("emoji", name, emoji_row(emoji[name], images, ASKED, self.device))
                progress.advance()


def planted_row(method: PixelSelector, count: int, side: int, patch: int, seed: int, device: str) -> dict[str, Any]:
    """Figures of a method on planted pictures."""
    given, began = planted_patches(count, side, patch, seed), time.monotonic()
    found = method(given.images, "colour", given.labels, device=device).result
    place = {name: k for k, name in enumerate(given.images.names)}
    truth, masks = given.truth[[place[name] for name in found.names]], torch.from_numpy(found.masks).float() / 255
    own = {"recall": recall(masks, truth), "precision": precision(masks, truth), "seconds": time.monotonic() - began}
    return {**found.figures(), **own}


def emoji_pictures(few: bool) -> ImageSet:
    """Emoji with captions that name their artist: 340 of three artists at half of their side, or all that ship."""
    if few:
        images = testbed.real_pictures()
        return ImageSet.from_pixels(avg_pool2d(images.pixels, 2), images.names, images.captions)
    hashes, pixels, captions = distinct_pictures()
    return ImageSet.from_pixels(pixels, hashes, captions)


def emoji_row(method: PixelSelector, images: ImageSet, most: int, device: str) -> dict[str, Any]:
    """Figures of a method on emoji by artist, those of one subject kept together."""
    parts = [str(caption or "").rpartition(", ") for caption in images.captions]
    began = time.monotonic()
    artists, subjects = [one[2].removesuffix(" style") for one in parts], [one[0] for one in parts]
    found = method(images, "artist", artists, subjects, device=device)
    areas = insertions(found, images, most, method.seed)
    apart = areas["mask"] - areas["grad_cam"]
    return {
        **found.result.figures(),
        **{f"insertion_{name}": float(values.mean()) for name, values in areas.items()},
        "insertion_difference": float(apart.mean()),
        "insertion_interval": list(interval(lambda drawn: apart[drawn].mean(1), [np.arange(len(apart))])),
        "seconds": time.monotonic() - began,
    }


def figures_of(
    planted: Mapping[str, Mapping[str, Any]], emoji: Mapping[str, Mapping[str, Any]], seconds: float
) -> dict[str, Any]:
    """Headline figures, then every row."""
    rows = {}
    for name in dict.fromkeys(one["method"] for one in planted.values()):
        those = [one for one in planted.values() if one["method"] == name]
        means = {what: float(np.mean([one[what] for one in those])) for what in MEANS}
        rows[name] = {**means, "recalls": [one["recall"] for one in those]}
    heads = {f"recall_{name.replace('-', '_')}": one["recall"] for name, one in rows.items()}
    apart = np.array(rows[CORE]["recalls"]) - np.array(rows[ALONE]["recalls"])
    heads |= {"recall_gain": float(apart.mean()), "least_recall_gain": float(apart.min())}
    core = emoji[CORE]
    heads |= {f"emoji_{what}": core[what] for what in ("accuracy", "difference", "area", "insertion_difference")}
    about = {"seconds": seconds, "machine": machine(), "versions": versions()}
    return {**heads, **about, "rows": {"planted": rows, "emoji": dict(emoji)}}


def _emoji_words(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    (below, above), (least, most) = one["difference_interval"], one["insertion_interval"]
    beside = f"{one['difference']:+.2f} ({below:+.2f} to {above:+.2f})"
    further = f"{one['insertion_difference']:+.2f} ({least:+.2f} to {most:+.2f})"
    numbers = ("area", "plain_on_left_out", "second_on_unshown", "insertion_mask")
    return (name, f"{one['accuracy']:.2f}", beside, *(f"{one[what]:.2f}" for what in numbers), further)
