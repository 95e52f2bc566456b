"""The embedded model pruned to a share of its estimated cost by each measure, recovered, and measured here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.denoising.picture_samples import PictureSamples, picture_samples
from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.family import Predictor
from intaglio.energy.methods.thor import Thor
from intaglio.energy.profile.active import ActiveRules
from intaglio.energy.profile.fingerprint import fingerprint
from intaglio.energy.profile.profiling import ProfilePlan, make_profile
from intaglio.energy.pruning.call_budget import CallBudget
from intaglio.energy.pruning.chosen_widths import By, check_reachable, chosen_widths, pruned
from intaglio.energy.pruning.held_out_errors import HeldOutErrors, held_out_places
from intaglio.energy.pruning.importance import unit_importances
from intaglio.energy.pruning.measured_calls import call_meter, measured_calls
from intaglio.energy.pruning.random_widths import random_networks
from intaglio.energy.pruning.width_costs import narrowest_steps, width_steps
from intaglio.energy.workloads import denoiser_step
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path, controls_wide
from intaglio.runs.run import Run

BATCH, LEAST, BUDGET = 8, 0.125, CallBudget(0.7)
"""Pictures of a call; least share of a width; share of the present cost. Half is out of reach where a processor spends
much beside the layers, and outside of the blocks."""
NETWORKS, QUICK_NETWORKS = 8, 6
"""Models of random widths, measured whole, by which the sum is corrected and the host's cost told apart."""
STEPS, QUICK_STEPS = 300, 20
"""Updates of the recovery."""
RATE = 1e-4
"""Their learning rate, that of the embedded model."""
QUICK_PICTURES, QUICK_POINTS = 20, 10
"""Pictures, and points of a family, with --quick."""
DRAWS, HELD_OUT_DRAWS = 8, 16
"""Timesteps and noises of a picture for importance, and for the errors."""
MEASURES: tuple[By, ...] = ("energy", "flops", "parameters")


@dataclass(frozen=True)
class PruningCell:
    """The suite of pruning, on the pictures of the package by the held-out artist."""

    device: str
    window: float
    seed: int
    quick: bool

    def rows(self, run: Run) -> dict[str, dict[str, Any]]:
        """A row for each measure, and `unpruned`: the whole model after the same recovery."""
        model = load_model(base_path(), device=self.device)
        images = controls_wide()
        images = images[:QUICK_PICTURES] if self.quick else images
        learned, held = (TrainingSet(images[places], "an emoji") for places in held_out_places(images.hashes))
        judged = picture_samples(model, held.images.pixels, held.prompts, HELD_OUT_DRAWS, self.seed)
        train = partial(self._recovered, model, learned=learned, judged=judged)
        found = {"unpruned": _kept(run, "unpruned", lambda: train(model))}
        steps = width_steps(model, BATCH, least=LEAST, run=run)
        predict = self._predictor(model, run)
        check_reachable(steps, predict, BUDGET)
        samples = picture_samples(model, learned.images.pixels, learned.prompts, DRAWS, self.seed)
        importances = unit_importances(model, samples, BATCH, run=run)

        def row(by: By) -> dict[str, Any]:
            chosen = chosen_widths(steps, importances, predict, BUDGET, by)
            slim = pruned(model, chosen.kept)
            return {"predicted_ratio": chosen.ratio, **self._measured(model, slim), **train(slim)}

        for by in MEASURES[:1] if self.quick else MEASURES:
            found[by] = _kept(run, by, partial(row, by))
        return found

    def _recovered(
        self, model: LatentDiffusion, slim: LatentDiffusion, learned: TrainingSet, judged: PictureSamples
    ) -> dict[str, Any]:
        """Errors of the held-out pictures before, pruned and recovered."""
        steps = QUICK_STEPS if self.quick else STEPS
        tuned = DreamBooth(steps=steps, learning_rate=RATE, batch=BATCH, seed=self.seed)(slim, learned)
        errors = HeldOutErrors(*(judged.errors(one, BATCH) for one in (model, slim, tuned.model)))
        return {f"error_{key}": value for key, value in errors.figures().items()}

    def _measured(self, model: LatentDiffusion, slim: LatentDiffusion) -> dict[str, Any]:
        figures = measured_calls(model, slim, BATCH).figures()
        return {
            "measured_ratio": figures["ratio"],
            "measured_interval_95": figures["ratio_interval_95"],
            "unit": figures["unit"],
        }

    def _predictor(self, model: LatentDiffusion, run: Run) -> Predictor:
        """THOR by a profile of this model's layers at all widths, corrected by models of random widths."""
        meter, unit = call_meter(self.device)
        device = TorchDevice(meter, self.device, window_s=self.window, unit_of=unit)
        here = fingerprint(self.device)
        about = {
            "provenance": str(next(iter(meter.domains().values())).provenance),
            "device": dict(here.device),
            "regime": dict(here.regime),
            "meter": {"name": meter.name, "relative_sd": 0.0},
        }
        rules = ActiveRules(points=QUICK_POINTS if self.quick else None, edges=1 if self.quick else 2)
        count = QUICK_NETWORKS if self.quick else NETWORKS
        networks = random_networks(device, model, BATCH, LEAST, count, self.seed)
        asked = [denoiser_step(model, BATCH), *narrowest_steps(model, [BATCH], LEAST, train=False)]
        return Thor()(make_profile(device, asked, networks, about, ProfilePlan(rules), run))


def _kept(run: Run, name: str, row: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row that an earlier part of the run made, or that is made now."""
    if (known := run.recorded("pruning").get(name)) is None:
        known = row()
        run.record("pruning", name, known)
    return known


def pruning_headlines(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of the bench's one line, those of pruning by energy; None where the suite was not asked for."""
    row = rows.get("energy", {})
    return {
        "prune_predicted_ratio": row.get("predicted_ratio"),
        "prune_measured_ratio": row.get("measured_ratio"),
        "prune_error_before": row.get("error_before"),
        "prune_error_after": row.get("error_recovered"),
    }


def pruning_table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a table, a row a measure."""
    lines = [f"pruning to {BUDGET.value:.0%} of the estimated cost, the same recovery each"]
    lines.append("  by            predicted  measured   error before   pruned     recovered")
    for name, row in rows.items():
        ratios = [f"{row[key]:.1%}" if key in row else "-" for key in ("predicted_ratio", "measured_ratio")]
        errors = [f"{row[f'error_{key}']:.4f}" for key in ("before", "pruned", "recovered")]
        lines.append(f"  {name:<13} {ratios[0]:>9} {ratios[1]:>9} {errors[0]:>14} {errors[1]:>8} {errors[2]:>13}")
    return lines
