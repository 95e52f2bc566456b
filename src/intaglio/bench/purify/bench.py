"""`intaglio bench purify`: what is left of hidden payloads after purifiers that change pictures equally much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from intaglio.bench.purify.matched import levelled, matched, mean_psnr, treatments
from intaglio.bench.purify.payloads import HELD_OUT, TILES, BlockColours, LowBits, Payload
from intaglio.errors import BadInput
from intaglio.metrics.statistics.interval import interval
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.picture_restorers import coarsened
from intaglio.printable import aligned
from intaglio.protect.purify.methods.ddsp import DDSP
from intaglio.runs.machine import machine, versions
from intaglio.runs.progress import Show
from intaglio.runs.run import Run

PAYLOADS: Mapping[str, Payload] = {
    "lsb": LowBits(),
    "lsb-quarter": LowBits(0.25),
    "dwt-dct": BlockColours(),
    "tiles": TILES,
    "white-patterns": HELD_OUT,
}
"""By name; the last is none that the network of `ddsp` has learnt from."""
MEASURED = "ddsp"
"""The purifier that the others are to equal in PSNR."""
QUICK_PICTURES = 40


@dataclass(frozen=True, kw_only=True)
class PurifyBench:
    """Bits of hidden payloads that are read wrong after each purifier, all at the same PSNR.

    Random bits are hidden in pictures of the testbed's held-out artist, which no network here was trained on: by LSB
    replacement in all numbers or in a quarter of them (lsb, lsb-quarter), by the mark dwt-dct, by quiet repeated tiles,
    and by white patterns, which ddsp has not learnt from. Keys and bits are each picture's own. ddsp cleans, and jpeg,
    median, blur, noise and round-trip do at the strength at which the PSNR to the given pictures comes nearest to its
    own; median and round-trip as a share of their change, which may be all of it. `rounded` drops the two lowest bits,
    as ddsp does first. All are rounded to 8 bits before they are read. `errors` is the share of wrong bits with its
    95% interval over pictures: 1/2, not 1, where nothing is left; `left` is its distance from 1/2.
    """

    quick: bool = False
    """40 pictures; under a minute."""
    payloads: tuple[str, ...] = ()
    """Payloads to hide: lsb, lsb-quarter, dwt-dct, tiles, white-patterns; none takes all."""
    pictures: int = 180
    """Pictures of a payload, 4 to 180, with --quick at most 40."""
    seed: int = 0
    """Of keys, bits and noise, from 0."""
    device: str = "cpu"
    """Where the round trip's model computes, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 4 <= self.pictures <= 180:
            raise ValueError(f"pictures must be 4 to 180, not {self.pictures}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")
        if unknown := [name for name in self.payloads if name not in PAYLOADS]:
            raise BadInput(f"there is no payload {unknown[0]!r}; choose from: {', '.join(PAYLOADS)}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; wrong bits by payload and purifier, and beside them every row under `rows`."""
        names = tuple(dict.fromkeys(self.payloads or PAYLOADS))
        settings = {"payloads": {name: repr(PAYLOADS[name]) for name in names}, "pictures": self._pictures}
        model = load_model(testbed.base_path(), device=self.device)
        inputs = {"model": {"path": "testbed", "sha256": model.fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "purify", {**settings, "seed": self.seed}, inputs, **about) as run:
            if run.status != "done":
                self._measure(names, model, run)
                run.finish(_figures(run))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as a table."""
        head = ("payload", "purifier", "wrong bits", "left", "PSNR", "to the unmarked")
        lines = [
            (
                payload,
                purifier,
                "{:.3f} ({:.3f} to {:.3f})".format(one["errors"], *one["interval"]),
                f"{one['left']:.3f}",
                f"{one['psnr']:.1f}",
                f"{one['psnr_unmarked']:.1f}",
            )
            for payload, row in figures["rows"].items()
            for purifier, one in row.items()
        ]
        return aligned([head, *lines])

    @property
    def _pictures(self) -> int:
        return min(self.pictures, QUICK_PICTURES) if self.quick else self.pictures

    def _measure(self, names: Sequence[str], model: LatentDiffusion, run: Run) -> None:
        clean = testbed.controls_wide().pixels[: self._pictures]
        left = [name for name in names if name not in run.recorded("row")]
        with run.progress(len(names), "payloads", len(names) - len(left)) as progress:
            for name in left:
                run.record("row", name, measured(PAYLOADS[name], clean, model, self.seed))
                progress.advance()


def measured(
    payload: Payload, clean: Float[Tensor, "n 3 h w"], model: LatentDiffusion, seed: int
) -> dict[str, dict[str, Any]]:
    """Wrong bits of a payload in pictures after each purifier, and PSNR, by the purifier's name."""
    hidden = payload.hide(clean, seed)
    restored = levelled(DDSP().clean(hidden.pixels, None, seed))
    wanted = mean_psnr(restored, hidden.pixels)
    ways = treatments(hidden.pixels, model, seed)
    cleaned = {
        "none": hidden.pixels,
        MEASURED: restored,
        **{name: matched(way, hidden.pixels, wanted) for name, way in ways.items()},
        "rounded": levelled(coarsened(hidden.pixels)),
    }
    return {
        name: {
            "each": payload.bit_errors(pixels, hidden.meant, seed).tolist(),
            "psnr": mean_psnr(pixels, hidden.pixels),
            "psnr_unmarked": mean_psnr(pixels, clean),
        }
        for name, pixels in cleaned.items()
    }


def _figures(run: Run) -> dict[str, Any]:
    kept = run.recorded("row")
    rows = {
        payload: {name: shares(one) for name, one in kept[payload].items()} for payload in PAYLOADS if payload in kept
    }
    flat = {f"errors_{payload}_{name}": one["errors"] for payload, row in rows.items() for name, one in row.items()}
    return {**flat, "seconds": run.seconds, "machine": machine(), "versions": versions(), "rows": rows}


def shares(one: Mapping[str, Any]) -> dict[str, Any]:
    """Wrong bits over all pictures with their interval, and how far from one half they are."""
    each = np.array(one["each"])
    found = float(each.mean())
    ends = interval(lambda drawn: drawn.mean(-1), [each])
    ratios = {name: one[name] for name in one if name != "each"}
    return {"errors": found, "interval": ends, "left": abs(found - 0.5), **ratios}
