"""`intaglio finetune METHOD`: pictures and a base in, tuned weights with their card out."""

import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast

import tyro

from intaglio.adapt.picture_prompts import picture_prompts
from intaglio.adapt.settings import Watch
from intaglio.audit.membership.shadow_runs import RECORD
from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.energy_stop import EnergyStop
from intaglio.commands.kit.idle_flags import said_idle, said_idle_like
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described, embedded_model
from intaglio.commands.kit.shared_steps import HERE_ALONE, joined_processes, launched, told_to_begin
from intaglio.commands.kit.source_settings import class_variable
from intaglio.data_files import Fields
from intaglio.errors import BadInput, IntaglioError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from intaglio.adapt.cost import Plan
    from intaglio.adapt.data import TrainingSet
    from intaglio.adapt.family import FineTuner
    from intaglio.adapt.tuned import FineTuned
    from intaglio.commands.kit.energy_lines import EnergyLine
    from intaglio.energy.energy_budget import EnergyBudget
    from intaglio.energy.jobs import JobWork
    from intaglio.images.folder import Listing
    from intaglio.learning.sharing_processes import Processes
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
SHOWN_PICTURES = 100
"""Training pictures, at most, that a run stores as the model is given them, for its report."""
IN_RESULT = (
    "sample_prompt",
    "sample_count",
    "sample_steps",
    "sample_guidance",
    "watch_every",
    "watch_count",
    "watch_steps",
    "watch_similarity",
    "keep",
    "on_corruption",
)
"""Settings of `Watch` that show in the result, by its pictures or the step that is kept; others make no other run."""


@dataclass(frozen=True, kw_only=True)
class TrainingInputs(ReadsPictures):
    """A command that reads a model and the pictures to train it on."""

    picture_folders: ClassVar[tuple[str, ...]] = ("images", "class_images")

    model: Path | None = None
    """A diffusers folder or a single .safetensors file; none takes the embedded testbed."""
    like: Path | None = None
    """A diffusers folder that gives the model what it lacks, such as the tokenizer of a single file."""

    images: Path
    """Folder of pictures; captions in .txt files of the same name, metadata.jsonl, or kohya folders such as 10_dog."""
    prompt: str | None = None
    """Prompt of every picture that has no caption of its own."""
    class_images: Path | None = None
    """Folder of class pictures, for prior preservation."""
    class_prompt: str | None = None
    """Prompt of the class pictures."""
    class_count: int = 0
    """Class pictures to draw from the base with the class prompt, in place of a folder of them."""

    def load_training_set(self, resolution: int) -> "TrainingSet":
        """The pictures of the folders; class pictures that are still to be drawn are not among them."""
        from intaglio.adapt.data import TrainingSet

        images = self.load_pictures(self.images, resolution)
        if self.class_count:
            return TrainingSet(images, self.prompt)
        classes = None if self.class_images is None else self.load_pictures(self.class_images, resolution)
        return TrainingSet(images, self.prompt, classes, self.class_prompt)

    def with_class_pictures(
        self, base: "LatentDiffusion", known: "TrainingSet", seed: int, run: "Run"
    ) -> "TrainingSet":
        """The whole set, for which `base` draws the class pictures that are asked for."""
        from intaglio.adapt.data import generate_class_images

        if not self.class_count:
            return known
        drawn = generate_class_images(base, self.class_prompt or "", self.class_count, seed, run=run)
        return replace(known, class_images=drawn, class_prompt=self.class_prompt)

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a picture without a prompt, and for flags of class pictures that do not go together."""
        self._check_class_pictures()
        for flag, known in (("images", "prompt"), ("class_images", "class_prompt")):
            if flag in listed:
                entries = listed[flag].entries
                names, captions = [entry.name for entry in entries], [entry.caption for entry in entries]
                picture_prompts(names, captions, getattr(self, known), known.replace("_", "-"))

    def _check_class_pictures(self) -> None:
        if self.class_count < 0:
            raise BadInput(f"--class-count must not be negative: {self.class_count}")
        check_count("--class-count", self.class_count)
        if self.class_count and self.class_images is not None:
            raise BadInput("Give class pictures by --class-images, or have them drawn by --class-count, not both.")
        if self.class_count and self.class_prompt is None:
            raise BadInput("--class-count needs --class-prompt, the prompt that class pictures are drawn from.")


@dataclass(frozen=True, kw_only=True)
class FineTune(Watch, DryRun, InRun, TrainingInputs, EnergyStop, Generic[M]):
    """Adapt a model from a few pictures. The same command again goes on where a killed one was.

    Under `accelerate launch` the processes share each step's pictures.
    """

    shares_steps: ClassVar[bool] = True
    method: tyro.conf.OmitArgPrefixes[M]
    name: str | None = None
    """Name of the result on its card, and in kohya's layout of its file; none takes the folder's name."""
    format: Literal["diffusers", "kohya"] = "diffusers"
    """Layout of a LoRA file."""
    half: int | None = None
    """Tune on a random half of the pictures, drawn by this seed: for shadow models, which `intaglio authenticate`
    compares a suspect with. None tunes on all."""
    watch_every: int | None = None
    """Judge pictures of fixed seeds every so many steps, for likeness to the training pictures and for noise; 0 never.
    None takes 100 steps or 40 for each picture, if that is more, and at most a tenth of all steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_energy_flags()

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        self._check()
        with joined_processes(self.device) as processes:
            self._check_shared(processes)
            return replace(self, device=processes.device)._run(processes)

    def check_early(self) -> None:
        """Raises `BadInput` for what does not go with a method that keeps pictures private."""
        kind = type(self.method)
        if not class_variable(f"{kind.__module__}:{kind.__name__}", "private"):
            return
        if launched() > 1:
            raise BadInput("noise that keeps pictures private is drawn in one process; start this by itself")
        if self.class_images is not None or self.class_count:
            flag = "--class-count" if self.class_count else "--class-images"
            raise BadInput(
                f"{flag} gives class pictures, which no privacy is accounted for; leave it out, or use finetune lora"
            )
        if self.keep == "best" or self.on_corruption == "stop":
            flag = "--keep best" if self.keep == "best" else "--on-corruption stop"
            raise BadInput(f"{flag} looks at the private pictures, which the guarantee does not count; leave it out")

    def _run(self, processes: "Processes") -> int:
        """The work of this process; returns the exit code."""
        from intaglio.models.diffusion.loading import load_model

        # Neither the base as it is stored nor all of its parts together need fit the device.
        loaded = load_model(self.model or embedded_model(), like=self.like)
        return replace(self, method=cast("M", self._method.suited(loaded)))._on(loaded, processes)

    def _on(self, loaded: "LatentDiffusion", processes: "Processes") -> int:
        """The work of this process on the base as it is stored; returns the exit code."""
        known = self.load_training_set(loaded.resolution)
        known = known if self.half is None else known.half(self.half)
        return replace(self, method=cast("M", self._method.fitted(known)))._with(known, loaded, processes)

    def _with(self, known: "TrainingSet", loaded: "LatentDiffusion", processes: "Processes") -> int:
        """The work of this process on the pictures; returns the exit code."""
        from intaglio.adapt.watching import STATE as BEST
        from intaglio.learning.checkpoints import STATE

        base = self._method.base_of(loaded)
        base = base.to(self.device) if self._method.text_encoder else base.with_aside(self.device)
        if not processes.main:
            if not self.dry_run and processes.any(False):
                self._method(base, known, processes=processes)
            return 0
        if self.dry_run and self.ends_with(self._plan(base, known), self._energy(base)):
            return 0
        with told_to_begin(processes) as begin, self._open(base, known) as run:
            if run.status != "done":
                if not processes.alone:
                    run.warn(HERE_ALONE)
                    note(f"{processes.count} processes share each step")
                self._tune(base, known, run, processes, begin)
            for state in (STATE, BEST):
                run.drop_state(state)
            self._tell(run)
        return 0

    def _tell(self, run: "Run") -> None:
        """Says what came of it and writes the report; the place of the weights is the one line of result."""
        from intaglio.report import write_report

        folder = run.folder or Path()
        for said in ("finding", "guarantee"):
            if run.summary.get(said):
                note(str(run.summary[said]))
        note(f"report     {write_report(folder)}")
        say(str(folder / _weights(run.summary)))

    def _check(self) -> None:
        self.check_energy(self.device)
        if self.format == "kohya" and self._method.gives != "adapter":
            raise BadInput(f"--format kohya is a layout of LoRA files; {self._method.name} writes a diffusers folder.")
        if self.name is not None and not re.fullmatch(r"[\w. -]*\w", self.name):
            raise BadInput(f"--name {self.name!r} does not serve as a file name; use letters, digits, '-', '_'.")

    def _check_shared(self, processes: "Processes") -> None:
        if processes.alone:
            return
        if self.class_count:
            raise BadInput(
                "--class-count draws pictures, which several processes do not share; have them drawn by `intaglio "
                "sample`, and give --class-images"
            )
        if self.energy_budget is not None:
            raise BadInput("--energy-budget counts one process; start the fine-tune in one, or leave the budget out")

    def _plan(self, base: "LatentDiffusion", known: "TrainingSet") -> "Plan":
        from intaglio.adapt.pictures_beside import seconds_beside

        plan = self._step_plan(base, known)
        beside = seconds_beside(base, known, self._method, self._watch, class_pictures=self.class_count)
        return replace(plan, beside_seconds=beside)

    def _step_plan(self, base: "LatentDiffusion", known: "TrainingSet") -> "Plan":
        """The plan of the steps alone."""
        if not self.class_count:
            return self._method.plan(base, known)
        # Class pictures still to be drawn take a step as long as any others do.
        stand_in = replace(known, class_images=known.images, class_prompt=self.class_prompt)
        count = self.class_count if self._method.prior_weight else 0
        return replace(self._method.plan(base, stand_in), class_pictures=count)

    def _open(self, base: "LatentDiffusion", known: "TrainingSet") -> "Run":
        from intaglio.adapt.data import training_hash

        inputs = {
            "model": described(self.model, getattr(base, "stored_fingerprint", base.fingerprint)),
            "images": described(self.images, training_hash(known.images, known.prompts)),
        }
        if known.class_images is not None:
            sha256 = training_hash(known.class_images, known.class_prompts)
            inputs["class_images"] = described(self.class_images, sha256)
        own = ("prompt", "class_prompt", "class_count", "format", *IN_RESULT)
        settings = {**asdict(self._method), **{key: getattr(self, key) for key in own}, "name": self._name}
        settings |= self.budget_settings()
        settings |= {} if self.half is None else {"half": self.half}
        return self.open_run("finetune", self._method.name, settings, inputs, seed=self._method.seed)

    def _tune(
        self,
        base: "LatentDiffusion",
        known: "TrainingSet",
        run: "Run",
        processes: "Processes",
        begin: "Callable[[], None]",
    ) -> None:
        for warning in (*self._idle(known), *said_idle_like(self.like, base), *base.notes, *known.warnings):
            run.warn(warning)
        with self.energy_stop(run, self.device, lambda: self._step_work(base)) as budget:
            plan = self._plan(base, known)
            energy = self._energy(base)
            self.begin(run, plan, energy)
            run.record("plan", "plan", asdict(plan))
            run.record(*RECORD, {"hashes": sorted(set(known.images.hashes))})
            for name, picture in zip(known.images.names[:SHOWN_PICTURES], known.images.pixels, strict=False):
                run.save_image(f"data/{name}", picture)
            data = self.with_class_pictures(base, known, self._method.seed, run)
            begin()
            tuned = self._tuned(base, data, run, budget, processes)
            folder = run.folder or Path()
            weights = tuned.save(folder, layout=self.format, name=self._name)
            place = weights.relative_to(folder).as_posix()
            spent = {} if budget is None else {"energy_budget": budget.figures()}
            spent |= {} if energy is None else {"energy_estimate": energy.figures}
            run.finish({"weights": place, "name": self._name, **tuned.figures(), **spent}, (place,))

    def _tuned(
        self,
        base: "LatentDiffusion",
        data: "TrainingSet",
        run: "Run",
        budget: "EnergyBudget | None",
        processes: "Processes",
    ) -> "FineTuned":
        from intaglio.adapt.closing_work import closing_steps

        watch = self._watch
        if budget is None:
            return self._method(base, data, run=run, watch=watch, processes=processes)
        budget.reserve_steps = closing_steps(self._method, watch, data)
        tuned = self._method(base, data, run=run, watch=watch, stop=budget)
        if budget.stopped and not len(tuned.losses):
            raise IntaglioError(
                "the energy budget was spent by parts of this run that were killed before a state was saved; give a "
                "larger budget, or --checkpoint-every"
            )
        if budget.stopped:
            run.warn(budget.sentence(len(tuned.losses), self._method.steps))
        return tuned

    def _energy(self, base: "LatentDiffusion") -> "EnergyLine | None":
        """The estimate of all updates, without judged and sampled pictures."""
        from intaglio.commands.kit.energy_lines import energy_line
        from intaglio.energy.jobs import repeated

        return energy_line(self.device, lambda: repeated(self._step_work(base), self._method.steps))

    def _step_work(self, base: "LatentDiffusion") -> "JobWork":
        """The work of one update, for an estimate of its energy."""
        from intaglio.commands.kit.energy_lines import tuning_work

        method = self._method
        pictures = method.step_size(self.class_images is not None or self.class_count > 0)
        at_once = min(method.micro_batch or pictures, pictures)
        return tuning_work(base, method, updates=1, batch=at_once, accumulation=-(-pictures // at_once))

    def _idle(self, known: "TrainingSet") -> list[str]:
        """Warnings of flags that this fine-tune does not use."""
        found = []
        if self.watch_every == 0:
            judging = ("watch_count", "watch_steps", "watch_similarity")
            found += said_idle(self, judging, "--watch-every 0 judges no pictures")
        if known.class_images is None and not self.class_count:
            found += said_idle(self.method, ("prior_weight",), "there are no class pictures")
        return found

    @property
    def _watch(self) -> Watch:
        """The settings of judged and sampled pictures, apart from the command."""
        return Watch(**{field.name: getattr(self, field.name) for field in fields(Watch)})

    @property
    def _method(self) -> "FineTuner":
        return cast("FineTuner", self.method)

    @property
    def _name(self) -> str:
        return self.name or re.sub(r"[^\w.-]+", "-", self.images.absolute().name).strip("-.") or "tuned"


def _weights(summary: dict[str, Any]) -> str:
    remedy = "delete the run's folder, and the same command tunes again"
    return Fields.of(summary, "the summary in run.json", remedy).text("weights")
