"""`intaglio energy prune`: channels of a model's U-Net removed until a call fits a budget of energy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import said_idle_like
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described, embedded_model
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.adapt.data import TrainingSet
    from intaglio.adapt.methods.dreambooth import DreamBooth
    from intaglio.denoising.picture_samples import PictureSamples
    from intaglio.energy.family import Predictor
    from intaglio.energy.machine_profile import MachineProfile
    from intaglio.energy.pruning.call_budget import CallBudget
    from intaglio.energy.pruning.held_out_errors import HeldOutErrors
    from intaglio.energy.pruning.width_costs import WidthSteps
    from intaglio.energy.step_estimate import StepEstimate
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan

MODEL = "model"
"""Folder of the pruned model in the run."""
MOST = 10**5
"""Most pictures at once, draws, and updates."""
HELD_OUT_DRAWS = 16
"""Timesteps and noises of each picture that is held out."""
RATE, TESTBED_RATE = 1e-5, 1e-4
"""Learning rates of the recovery, of any model and of the embedded testbed."""


@dataclass(frozen=True, kw_only=True)
class PruneEnergy(DryRun, InRun, ReadsPictures):
    """Prune a model's U-Net to a budget of energy, and train what is left on pictures.

    Channels between two layers of one block go first where they say least for what they cost, by this machine's
    profile, until the upper bound of a call is within the budget. The same command again goes on where it was killed.
    """

    images: Path
    """Folder of pictures that the model is to stay good at; captions in .txt files of the same name. A fifth is held
    out for the figures."""
    budget: str
    """Most that a call of the denoiser may cost: a share of now such as 70%, or an amount such as "0.3 J" where the
    profile counts joules, "0.8 CPU-s" where it counts processor seconds."""
    prompt: str | None = None
    """Prompt of every picture that has no caption of its own."""
    model: Path | None = None
    """A diffusers folder or a single .safetensors file; none takes the embedded testbed."""
    like: Path | None = None
    """A diffusers folder that gives the model what it lacks, such as the tokenizer of a single file."""
    job: Literal["sample", "finetune"] = "sample"
    """Call that the budget is of: one of a drawing, or forward and backward pass of a training of all weights."""
    batch: int = 8
    """Pictures at once in that call and in the recovery, 1 or more."""
    by: Literal["energy", "flops", "parameters"] = "energy"
    """Measure that importance is weighed against: estimated cost, or as baselines operations or weights of layers. The
    budget is of the estimated cost in every case."""
    least: float = 0.125
    """Least share of each width that stays, in (0, 1]."""
    draws: int = 8
    """Timesteps and noises of each picture by which importance is told, 1 or more."""
    recover: int = 200
    """Updates of all weights after pruning, on the pictures that are not held out; 0 for none."""
    learning_rate: float | None = None
    """Learning rate of these; none takes 1e-5, and 1e-4 for the embedded testbed."""
    samples: int = 4
    """Pictures of equal seeds that are drawn before and after, 0 or more."""
    seed: int = 0
    """Seed of the draws, of the recovery and of the pictures, 0 or more."""
    profile: Path | None = None
    """A profile's file; none takes this machine's own."""

    def __post_init__(self) -> None:
        for name, low in (("batch", 1), ("draws", 1), ("recover", 0), ("samples", 0)):
            if not low <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} must be at least {low} and at most {MOST}, not {getattr(self, name)}")
        if not 0 < self.least <= 1:
            raise ValueError(f"least must be above 0 and at most 1, not {self.least}")
        if not 0 <= self.seed < 2**62:
            raise ValueError(f"seed must be 0 to 2**62 - 1, not {self.seed}")
        if not self.recover and self.learning_rate is not None:
            raise ValueError("learning_rate is of the recovery: give recover too, or leave it out")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be above 0 and finite, not {self.learning_rate}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.adapt.data import TrainingSet
        from intaglio.energy.machine_profile import needed_profile
        from intaglio.energy.pruning.call_budget import CallBudget
        from intaglio.learning.checkpoints import STATE
        from intaglio.models.capabilities import HasUNet
        from intaglio.models.diffusion.loading import load_model

        check_count("--samples", self.samples)
        budget, found = CallBudget.parse(self.budget), needed_profile(self.device, self.profile)
        budget.check_unit(found.profile.unit)
        model = load_model(self.model or embedded_model(), like=self.like, device=self.device)
        if not isinstance(model, HasUNet):
            raise BadInput(f"{model.name} has no U-Net, and only their layers are made narrower; give one that has")
        data = TrainingSet(self.load_pictures(self.images, model.resolution), self.prompt)
        learned, held = _split(data)
        if self.dry_run and self.ends_with(self._time(model, learned, held)):
            return 0
        with self._open(model, data, found) as run:
            if run.status != "done":
                for warning in (*said_idle_like(self.like, model), *model.notes, *data.warnings):
                    run.warn(warning)
                run.planned(self._time(model, learned, held).seconds)
                self._prune(model, learned, held, found, budget, run)
            run.drop_state(STATE)
            for line in _lines(run.summary):
                note(line)
            say(str((run.folder or Path()) / MODEL))
        return 0

    def _open(self, model: "LatentDiffusion", data: "TrainingSet", found: "MachineProfile") -> "Run":
        from intaglio.adapt.data import training_hash
        from intaglio.energy.machine_profile import own_profile_path
        from intaglio.files import file_hash

        path = self.profile or own_profile_path(self.device)
        inputs = {
            "model": described(self.model, model.fingerprint),
            "images": described(self.images, training_hash(data.images, data.prompts)),
            "profile": described(path, file_hash(path)),
        }
        own = ("budget", "prompt", "job", "batch", "by", "least", "draws", "recover", "learning_rate", "samples")
        settings = {name: getattr(self, name) for name in own}
        return self.open_run("energy", "prune", settings, inputs, seed=self.seed)

    def _prune(
        self,
        model: "LatentDiffusion",
        learned: "TrainingSet",
        held: "TrainingSet",
        found: "MachineProfile",
        budget: "CallBudget",
        run: "Run",
    ) -> None:
        from intaglio.commands.kit.energy_lines import predictor_of
        from intaglio.denoising.picture_samples import picture_samples
        from intaglio.energy.pruning.chosen_widths import pruned
        from intaglio.energy.pruning.held_out_errors import HeldOutErrors

        chosen = self._chosen(model, learned, predictor_of(found), budget, run)
        judged = picture_samples(model, held.images.pixels, held.prompts, HELD_OUT_DRAWS, self.seed)
        slim = pruned(model, chosen["kept"])
        before, after = (judged.errors(one, self.batch) for one in (model, slim))
        recovered = None
        if self.recover:
            slim = self._recovery()(slim, learned, run=run).model
            recovered = judged.errors(slim, self.batch)
        slim.name = f"{model.name}, pruned"
        slim.save((run.folder or Path()) / MODEL)
        self._draw(model, slim, learned.trigger, run)
        errors = HeldOutErrors(before, after, recovered)
        run.finish(self._summary(model, slim, chosen, errors, len(learned.images), run), (MODEL,))

    def _chosen(
        self, model: "LatentDiffusion", learned: "TrainingSet", predict: "Predictor", budget: "CallBudget", run: "Run"
    ) -> dict[str, Any]:
        """The units that stay, with the estimates: as an earlier part of the run chose them, or chosen now."""
        from intaglio.denoising.picture_samples import picture_samples
        from intaglio.energy.pruning.chosen_widths import check_reachable, chosen_widths
        from intaglio.energy.pruning.importance import unit_importances
        from intaglio.energy.pruning.width_costs import width_steps

        if (known := run.recorded("widths").get("chosen")) is not None:
            return known
        steps = width_steps(model, self.batch, least=self.least, train=self.job == "finetune", run=run)
        before = predict(steps.whole({}))
        _check_coverage(before)
        check_reachable(steps, predict, budget)
        samples = picture_samples(model, learned.images.pixels, learned.prompts, self.draws, self.seed)
        self._plan(model, steps, samples, before, budget.limit(before), run)
        importances = unit_importances(model, samples, self.batch, run=run)
        found = chosen_widths(steps, importances, predict, budget, self.by)
        for warning in dict.fromkeys((*before.warnings, *_narrow_warnings(found.after, self.least))):
            run.warn(warning)
        run.record("widths", "chosen", found.figures())
        return run.recorded("widths")["chosen"]

    def _plan(
        self,
        model: "LatentDiffusion",
        steps: "WidthSteps",
        samples: "PictureSamples",
        before: "StepEstimate",
        most: float,
        run: "Run",
    ) -> None:
        """Prints and keeps what a call costs, and what it is to cost."""
        (low, high), unit = before.interval, before.unit
        units = sum(counts[0] for counts in steps.units.values())
        note(
            f"a call   of {self.batch}: about {before.amount:.3g} {unit} now ({low:.3g} to {high:.3g} with 95%)\n"
            f"budget   at most {most:.3g} {unit} with 95%\n"
            f"work     importance of {units} units in {len(steps.units)} blocks from {len(samples)} samples, "
            f"{self.recover} updates"
        )
        plan = {"amount": before.amount, "interval_95": [low, high], "unit": before.unit, "budget": most}
        run.record("plan", "plan", {**plan, "units": units, "samples": len(samples)})

    def _time(self, model: "LatentDiffusion", learned: "TrainingSet", held: "TrainingSet") -> "TimePlan":
        """Seconds by what is done, from a step of training and a call that are timed here."""
        from intaglio.runs.time_plan import TimePlan
        from intaglio.sampling.calls import Calls
        from intaglio.sampling.plan import picture_calls, planned_seconds

        step_s = self._recovery().plan(model, learned).step_s
        judged = Calls(forward=(3 if self.recover else 2) * HELD_OUT_DRAWS * len(held.images))
        drawn = picture_calls(model).times(2 * self.samples)
        return TimePlan(
            {
                "importance": step_s * len(learned.images) * self.draws / self.batch,
                f"{self.recover} updates of {step_s:.2g} s": step_s * self.recover,
                "errors on held-out pictures": planned_seconds(judged, model, self.batch),
                "pictures": planned_seconds(drawn, model, max(1, self.samples)),
            }
        )

    def _recovery(self) -> "DreamBooth":
        """The training of what is left; with the defaults of the full fine-tune but for what the command says."""
        from intaglio.adapt.methods.dreambooth import DreamBooth

        rate = self.learning_rate if self.learning_rate is not None else TESTBED_RATE if self.model is None else RATE
        return DreamBooth(steps=max(1, self.recover), learning_rate=rate, batch=self.batch, seed=self.seed)

    def _draw(self, model: "LatentDiffusion", slim: "LatentDiffusion", prompt: str, run: "Run") -> None:
        """Pictures of the same seeds by both models, as `before/00` and `after/00`."""
        from intaglio.randomness import seed_32bit
        from intaglio.sampling.loop import sample

        if not self.samples:
            return
        seeds = [seed_32bit(self.seed, "pruned", place) for place in range(self.samples)]
        for name, one in (("before", model), ("after", slim)):
            drawn = sample(one, [prompt] * len(seeds), seeds, batch=self.batch, run=run).pixels
            for place, pixels in enumerate(drawn):
                run.save_image(f"{name}/{place:02d}", pixels, {"prompt": prompt, "seed": str(seeds[place])})

    def _summary(
        self,
        model: "LatentDiffusion",
        slim: "LatentDiffusion",
        chosen: dict[str, Any],
        errors: "HeldOutErrors",
        learned: int,
        run: "Run",
    ) -> dict[str, Any]:
        from intaglio.energy.pruning.measured_calls import measured_calls

        try:
            measured = measured_calls(model, slim, self.batch, train=self.job == "finetune").figures()
        except BadInput as error:  # an accelerator without a meter; the estimates stand all the same
            run.warn(f"no call is measured: {error}")
            measured = None
        sizes = [sum(weight.numel() for weight in one.denoiser.parameters()) for one in (model, slim)]
        widths = {scope: [chosen["units"][scope], len(kept)] for scope, kept in chosen["kept"].items()}
        estimated = {name: chosen[name] for name in ("before", "after", "ratio")}
        return {
            "weights": MODEL,
            "estimated": estimated,
            "measured": measured,
            "error": errors.figures(),
            "parameters": {"before": sizes[0], "after": sizes[1]},
            "pictures": learned,
            "widths": widths,
        }


def _split(data: "TrainingSet") -> "tuple[TrainingSet, TrainingSet]":
    """The pictures to learn from and those held out. Raises `BadInput` where all are the same."""
    from intaglio.adapt.data import TrainingSet
    from intaglio.energy.pruning.held_out_errors import held_out_places

    def chosen(places: Sequence[int]) -> TrainingSet:
        return TrainingSet(data.images[places], data.prompt)

    learned, held = held_out_places(data.images.hashes)
    return chosen(learned), chosen(held)


def _check_coverage(before: "StepEstimate") -> None:
    from intaglio.energy.energy_estimate import LEAST_COVERAGE

    if before.coverage < LEAST_COVERAGE:
        raise BadInput(
            f"only {before.coverage:.0%} of a call is covered by the profile; make one of this model with intaglio "
            "energy profile --model"
        )


def _narrow_warnings(after: "StepEstimate", least: float) -> list[str]:
    """A word on narrow layers that the profile does not cover."""
    from intaglio.energy.energy_estimate import GOOD_COVERAGE

    if after.coverage >= GOOD_COVERAGE:
        return []
    return [
        f"only {after.coverage:.0%} of a pruned call rests on measured layers; a profile made with --least-width "
        f"{least:g} covers narrow ones too"
    ]


def _lines(summary: dict[str, Any]) -> list[str]:
    """The result in a few lines, for people."""
    estimated, error = summary["estimated"], summary["error"]
    lines = [f"cost     {estimated['ratio']:.0%} of before by the estimate"]
    if (measured := summary["measured"]) is not None:
        low, high = measured["ratio_interval_95"]
        lines[0] += f", {measured['ratio']:.0%} as measured ({low:.0%} to {high:.0%} with 95% over the windows alone)"
    said = f"error    {error['before']:.4f} before, {error['pruned']:.4f} pruned"
    said += "" if error["recovered"] is None else f", {error['recovered']:.4f} recovered"
    return [*lines, f"{said}, on {error['pictures']} held-out pictures"]
