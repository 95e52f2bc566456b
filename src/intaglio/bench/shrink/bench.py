"""`intaglio bench shrink`: ways to make a model smaller, by bytes, quality, seconds, and what audits still tell."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.bench.kit.methods import default_method
from intaglio.bench.kit.suspects import HARD, PAPER
from intaglio.bench.shrink.audited import AUDITS, FULL, WAYS, audit_figures
from intaglio.bench.shrink.call_times import call_times, grid_times
from intaglio.bench.shrink.fidelity import Fidelity
from intaglio.bench.shrink.kept_changes import kept_change_figures
from intaglio.bench.shrink.merged_models import merge_figures
from intaglio.bench.shrink.rounding_curve import rounding_curve
from intaglio.errors import BadInput
from intaglio.metrics.pareto import Pareto
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan
from intaglio.shrink.calibration_states import CalibrationStates, drawn_states
from intaglio.shrink.family import Shrinker
from intaglio.verbs import VERBS

ROWS = 128
"""Calibration rows of the methods that learn, and as many others that all are judged by."""
QUICK_STEPS = 20
"""Steps of a learning of roundings, or of a search for them, with --quick: they say that it runs and no more."""
FOUR_BITS = (3.5, 4.75)
"""Bits a weight, scales and all, of the rows that count as of 4 bits."""


@dataclass(frozen=True)
class ShrinkBench:
    """Ways to make a model smaller: bytes, error, pictures, seconds, and what audits still tell.

    `error` is the norm of the change of the predicted noise over that of the noise, on states that no method learned
    from; `loss_unseen` and `loss_trained` the rise of the denoising loss on pictures that the model was not, and was,
    trained on; `distance` the mean squared distance of the embedded encoder's descriptors to those of the full model's
    pictures of equal seeds, and `kid` the kernel distance to its pictures of other seeds, beside the `floor` of that,
    the full model's own. The encoder is a proxy. `call_ms` has milliseconds a call at batches of 1 and 8 by precision,
    `seconds_ratio_w8` those of int8 at 8 over those of float32. A row is on the front where no other has both fewer
    bytes and less error. `gained_bits` is how many bits more plain rounding, a scale for each row, needs for the same
    error, where weights are packed.

    Fine-tunes on few-shot sets are audited before and after they are made smaller, the base full or made smaller alike:
    `audit_auc` has the AUC of each, and its change with an interval over pictures, in the regimes of the bench of
    audits; `audit_auc_full` and `audit_auc_w4` are means over the audits in the hard one. `merges` has the losses of
    merged fine-tunes, `soup_gain` that of a soup on holdouts; `darex` what is lost of a fine-tune's predictions by the
    share of its changes that is dropped.
    """

    quick: bool = False
    """One setting a method at 8 and at 4 bits, none that ends with a training, few pictures, two audits of one weak
    fine-tune: at most ten minutes."""
    methods: tuple[str, ...] = ()
    """Methods to make the model smaller by; none takes all."""
    audits: tuple[str, ...] = ()
    """Audits of fine-tunes, loss-gap, update-alignment or cgi-dm; none takes all, the first two with --quick, and none
    where methods are named."""
    sets: int | None = None
    """Few-shot sets that are fine-tuned on, 1 or more; none takes 4, 1 with --quick."""
    prompts: int | None = None
    """Captions to draw, 2 or more; none takes 24, 8 with --quick."""
    each: int | None = None
    """Pictures of each caption, 1 or more; none takes 8, 3 with --quick."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    seed: int = 0
    """Seed of calibration, pictures and fine-tunes."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        for name, least in (("sets", 1), ("prompts", 2), ("each", 1)):
            if (given := getattr(self, name)) is not None and given < least:
                raise ValueError(f"{name} must be {least} or more, not {given}")
        if unknown := [name for name in self.audits if name not in AUDITS]:
            raise ValueError(f"audits must be of {', '.join(AUDITS)}, not {unknown[0]}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Shrinks and measures; figures by name, those of each row under `rows`."""
        rows = self._rows()
        settings = {**asdict(self), "runs": None, "rows": {name: one.settings for name, one in rows.items()}}
        inputs = {"model": {"path": "testbed", "sha256": self._model.fingerprint}}
        about = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "shrink", settings, inputs, **about) as run:
            if run.status != "done":
                figures = self._figures(rows, self._measured(rows, run))
                figures |= call_times(self._model, quick=self.quick) | grid_times(quick=self.quick)
                figures |= self._audited(run)
                figures |= self._of_fine_tunes(command, progress)
                run.finish(without_nan(figures))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """A line a row; those on the front have a star."""
        lines = [
            "   row                               bytes   bits   error  gained  loss rise   distance      KID    dB"
        ]
        for name, row in figures["rows"].items():
            star, gained = "*" if row["on_front"] else " ", row["gained_bits"]
            lines.append(
                f" {star} {name:<32} {row['bytes'] / 1e6:>5.2f}M {row['bits']:>6.2f} {row['error']['whole']:>7.4f} "
                f"{'' if gained is None else format(gained, '+.2f'):>7} {row['loss_unseen']['rise']['mean']:>+10.5f} "
                f"{row['distance']['mean']:>10.4f} {row['kid']['mean']:>+8.4f} {row['psnr']:>5.1f}"
            )
        lines.append(f"KID between the full model's pictures of two sets of seeds: {figures['floor']:+.4f}")
        told = ", ".join(f"{times[0]:.1f} and {times[1]:.1f} in {name}" for name, times in figures["call_ms"].items())
        lines.append(f"ms a call of 1 and 8: {told}; a packed model without rounded inputs is computed as a dense one")
        if "grid_ms" in figures:
            pairs = zip(figures["grid_sides"], *figures["grid_ms"].values(), strict=True)
            told = "; ".join(f"{side}x{side} {one:.1f} and {two:.1f}" for side, one, two in pairs)
            lines.append(f"ms of a self-attention and of a long convolution of 320 channels, by grid: {told}")
        for regime, audits in figures.get("audit_auc", {}).items():
            for audit, found in audits.items():
                told = ", ".join(f"{key} {one['value']:.2f}" for key, one in found.items())
                lines.append(f"AUC of {audit}, {regime} regime: {told}")
        if "soup_gain" in figures:
            low, high = figures["merges"]["soup_gain_interval_95"]
            lines.append(
                f"a soup of two fine-tunes gains {figures['soup_gain']:.4f} ({low:.4f} to {high:.4f}) in the loss of "
                f"holdouts on the mean of both; with nine of ten changes dropped, the loss of members is "
                f"{figures['dare_loss_at_90']:.2f} times that of the whole fine-tune"
            )
        return "\n".join(lines)

    @cached_property
    def _model(self) -> LatentDiffusion:
        return load_model(testbed.base_path(), device=self.device)

    def _rows(self) -> dict[str, Shrinker]:
        """The methods with their settings, by name of the row."""
        known = VERBS["shrink"].methods
        if unknown := [name for name in self.methods if name not in known]:
            raise BadInput(f"there is no such method {unknown[0]!r}; choose from: {', '.join(known)}")
        found = {}
        for name in self.methods or known:
            method = default_method("shrink", name)
            settings = () if self.quick and method.trained else method.bench
            quick = [one for one in settings if one.get("bits", 8) in (8, 4) and "group" not in one]
            for one in quick[:2] if self.quick else settings:
                words = " ".join(f"{key} {value}" for key, value in one.items())
                few = {"iterations": QUICK_STEPS, "moves": QUICK_STEPS} if self.quick else {}
                found[f"{name} {words}".strip()] = default_method("shrink", name, seed=self.seed, **few, **one)
        return found

    @cached_property
    def _captions(self) -> list[str]:
        captions = [str(caption) for caption in testbed.real_pictures().captions]
        count = self.prompts or (8 if self.quick else 24)
        if count > len(captions):
            raise BadInput(f"there are {len(captions)} captions, not {count}; give fewer --prompts")
        return [captions[k * len(captions) // count] for k in range(count)]

    @cached_property
    def _fidelity(self) -> Fidelity:
        unseen, trained = testbed.controls_wide(), testbed.real_pictures()
        few = 48 if self.quick else 200
        rows = self._states(self.seed + 1)
        each = self.each or (3 if self.quick else 8)
        return Fidelity(self._model, rows, unseen[:few], trained[:few], self._captions, each, self.seed)

    def _states(self, seed: int) -> CalibrationStates:
        return drawn_states(self._model, self._captions, ROWS, seed=seed)

    def _measured(self, rows: Mapping[str, Shrinker], run: Run) -> dict[str, dict[str, Any]]:
        left = run.recorded("row")
        states = self._states(self.seed)
        with run.progress(len(rows), "rows", len(left)) as progress:
            for name, shrinker in rows.items():
                if name in left:
                    continue
                began = time.monotonic()
                found = shrinker(self._model, states if shrinker.calibrated else None)
                seconds = time.monotonic() - began
                facts = {"bytes": found.bytes, "bits": found.bits, "seconds": seconds, "method": shrinker.name}
                settings = {"method": shrinker.name, **shrinker.settings}
                left[name] = {**facts, "settings": settings, **self._fidelity.figures(found.model)}
                run.record("row", name, left[name])
                progress.advance()
        return left

    def _figures(self, rows: Mapping[str, Shrinker], measured: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """The rows with their places, and what is told of all."""
        points = np.array([[measured[name]["bytes"], measured[name]["error"]["whole"]] for name in rows])
        front = Pareto(points, (False, False)).front
        curve = rounding_curve(self._model, self._fidelity.rows, quick=self.quick)
        table = {
            name: {
                **measured[name],
                "on_front": bool(on),
                "gained_bits": None if rows[name].structural else curve.gained(measured[name]),
            }
            for name, on in zip(rows, front, strict=True)
        }
        full = sum(2 * weight.numel() for weight in self._model.denoiser.state_dict().values())
        shares = {
            name: [row["on_front"] for row in table.values() if row["method"] == name]
            for name in VERBS["shrink"].methods
        }
        return {
            "methods": len({row["method"] for row in table.values()}),
            "rows": table,
            "floor": self._fidelity.floor,
            "kid_real": self._fidelity.own_kid,
            "bytes_at_16_bits": full,
            "rounding_curve": curve.points,
            "pareto_share": {name: float(np.mean(on)) for name, on in shares.items() if on},
            **self._at_four_bits(table, full),
            **self._at_eight_bits(table),
        }

    def _at_four_bits(self, table: Mapping[str, Mapping[str, Any]], full: int) -> dict[str, Any]:
        """The best row of some 4 bits by error, beside plain rounding of a scale for each row."""
        low, high = FOUR_BITS
        fours = {name: row for name, row in table.items() if low <= row["bits"] <= high}
        plain = fours.get("rtn bits 4")
        if plain is None:
            return {}
        best = min(fours, key=lambda name: fours[name]["error"]["whole"])
        pair = {"best": fours[best], "rtn": plain}
        found = {f"w4_{key}_{name}": row[name]["mean"] for key, row in pair.items() for name in ("kid", "distance")}
        errors = {f"w4_{key}_error": row["error"]["whole"] for key, row in pair.items()}
        return {"w4_best_method": best, "bytes_ratio_w4": plain["bytes"] / full, **found, **errors}

    def _at_eight_bits(self, table: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Of plain rounding to 8 bits the kernel distance to real pictures, over the full model's, and the loss."""
        if (plain := table.get("rtn bits 8")) is None:
            return {}
        return {
            "w8_kid_ratio": plain["kid_real"] / self._fidelity.own_kid,
            "w8_loss_rise": plain["loss_unseen"]["rise"],
        }

    def _of_fine_tunes(self, command: Sequence[str], progress: Show) -> dict[str, Any]:
        """Figures of merged fine-tunes, and of such of which a few changes are kept; none where methods are named."""
        if self.methods:
            return {}
        merges = merge_figures(self._model, self.runs, quick=self.quick, command=command, progress=progress)
        kept = kept_change_figures(self._model, quick=self.quick, seed=self.seed)
        return {"soup_gain": merges["soup_gain"], "merges": merges, **kept}

    def _audited(self, run: Run) -> dict[str, Any]:
        """AUC of audits of fine-tunes, full and smaller."""
        audits = self.audits or (() if self.methods else AUDITS[: 2 if self.quick else None])
        if not audits:
            return {}
        found = {}
        for regime in (HARD,) if self.quick else (HARD, PAPER):
            found[regime.name] = audit_figures(
                self._model,
                regime,
                testbed.sets()[: self.sets or (1 if self.quick else 4)],
                audits=audits,
                ways=("rtn 8", "rtn 4") if self.quick else tuple(WAYS),
                pictures=None,
                seed=self.seed,
                run=run,
            )
        hard = found[HARD.name].values()
        means = {
            name: float(np.mean([one[key]["value"] for one in hard]))
            for name, key in (("audit_auc_full", FULL), ("audit_auc_w4", "rtn 4"))
        }
        return {"audit_auc": found, **means}
