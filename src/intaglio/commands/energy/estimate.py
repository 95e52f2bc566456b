"""`intaglio energy estimate`: joules, money, carbon and time of a job before it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

from tyro.conf import OmitArgPrefixes

from intaglio.commands.kit.console import say, say_json
from intaglio.commands.kit.energy_inputs import EnergyRates
from intaglio.commands.kit.inputs import embedded_model, noted
from intaglio.commands.kit.user_module import shape_of, split_name
from intaglio.errors import require

if TYPE_CHECKING:
    from intaglio.energy.family import EnergyEstimator
    from intaglio.energy.jobs import JobWork
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class EstimateEnergy(EnergyRates, Generic[M]):
    """Estimate a job before it runs, from a profile of this machine.

    Without a profile of its own (`intaglio energy profile`) a processor is estimated by the one that ships, of another
    machine, in processor seconds, and the estimate says so.
    """

    method: OmitArgPrefixes[M]
    job: Literal["sample", "finetune", "finetune-lora", "flow-train", "flow-sample", "module"] | None = None
    """Drawing pictures, training all weights of the denoiser, training a LoRA of it, training a flow, drawing from one
    by its measured plan (without one patch by patch), or calls of --module. None: module where one is given, else
    sample."""
    flow: str = ""
    """The flow of flow-train and flow-sample: the name of one in the package, or its folder; none takes the first of
    the package."""
    module: str | None = None
    """A torch.nn.Module of your own, as FILE.py:NAME: a module, or a function or class without arguments that gives
    one. The file is your program, and is run as such."""
    inputs: tuple[str, ...] = ()
    """Shapes of the module's inputs in order, such as 8x3x32x32; 8x77:int64 for another type than float32."""
    train: bool = False
    """Each call of the module is a training step: forward, backward, and an update of its weights by AdamW."""
    model: Path | None = None
    """A diffusers folder or a single .safetensors file; none takes the embedded testbed."""
    like: Path | None = None
    """A diffusers folder that gives the model what it lacks, such as the tokenizer of a single file."""
    pictures: int = 1
    """Pictures to draw, or of a training set, 1 or more."""
    steps: int = 30
    """Sampling steps, updates of a training, or calls of a module, 1 or more."""
    batch: int = 8
    """Pictures at once, 1 or more."""
    size: tuple[int, int] | None = None
    """Height and width of the pictures in pixels; none takes the model's own."""
    guidance: float = 5.0
    """Guidance scale of a drawing; 1 is none, and halves the work of the denoiser."""
    rank: int = 4
    """Rank of a LoRA, 1 or more."""
    device: str = "cpu"
    """Device that the job is to run on, such as cpu or cuda:1."""
    profile: Path | None = None
    """A profile's file; none takes this machine's own, or on a processor the one that ships."""
    watts_per_cpu_second: float | None = None
    """Power of one busy core in W, for modelled joules where the profile counts processor seconds."""
    allow_low_coverage: bool = False
    """Give an estimate even where less than half of the work is covered by the profile."""
    json: bool = False
    """End with one line of JSON."""

    def __post_init__(self) -> None:
        for name in ("pictures", "steps", "batch", "rank"):
            if not 1 <= getattr(self, name) <= 10**9:
                raise ValueError(f"{name} must be at least 1 and at most 1e9, not {getattr(self, name)}")
        if not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance must be 0 or more, and finite, not {self.guidance}")
        rate = self.watts_per_cpu_second
        if rate is not None and not 0 <= rate < float("inf"):
            raise ValueError(f"watts_per_cpu_second must be a power of at least 0 W, not {rate}")
        self._check_module()
        self.rates()

    def _check_module(self) -> None:
        """Raises `ValueError` for flags of a module that do not go together."""
        if self.module is None:
            for name in ("inputs", "train"):
                require(not getattr(self, name), f"{name} belongs to module: give that too, as FILE.py:NAME")
            require(self.job != "module", "job module needs module, as FILE.py:NAME")
            return
        require(self.job in (None, "module"), f"module is a job of its own: leave job {self.job} out")
        require(bool(self.inputs), "module needs inputs, the shapes that it is called with, such as 8x3x32x32")
        split_name(self.module)
        for words in self.inputs:
            shape_of(words)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.commands.kit.energy_lines import predictor_of
        from intaglio.energy.energy_estimate import estimate
        from intaglio.energy.machine_profile import known_profile

        found = known_profile(self.device, self.profile)
        told = estimate(
            predictor_of(found, cast("EnergyEstimator", self.method)),
            self._asked(),
            self.rates(),
            watts_per_cpu_second=self.watts_per_cpu_second,
            allow_low_coverage=self.allow_low_coverage,
            warnings=[f"of the profile: {note}" for note in found.profile.notes],
            remedy=self._remedy,
        )
        say_json(told.figures()) if self.json else say(str(told))
        return 0

    @property
    def _remedy(self) -> str:
        """The way to a profile that covers this job."""
        if self.module is not None:
            return ""
        flag = "--flow" if self.job in ("flow-train", "flow-sample") else "--model"
        return f"make one of this {flag[2:]} with intaglio energy profile {flag}"

    def _asked(self) -> "JobWork":
        """The work of the job."""
        from intaglio.commands.kit.energy_lines import flow_work, module_work
        from intaglio.commands.kit.flow_energy import planned_work
        from intaglio.commands.kit.user_module import tensor_of, user_module
        from intaglio.models.diffusion.loading import load_model

        if self.module is not None:
            tensors = list(map(tensor_of, self.inputs))
            return module_work(user_module(self.module), tensors, self.steps, train=self.train)
        if self.job == "flow-train":
            return flow_work(self.flow, self.steps, self.batch)
        if self.job == "flow-sample":
            return planned_work(self.flow, self.pictures, self.batch, self.device)
        return self._work(noted(load_model(self.model or embedded_model(), like=self.like, device=self.device)))

    def _work(self, model: "LatentDiffusion") -> "JobWork":
        from intaglio.commands.kit.energy_lines import sample_work, training_work

        if self.job in (None, "sample"):
            guided = self.guidance != 1
            return sample_work(model, self.pictures, self.steps, self.batch, guided=guided, size=self.size)
        rank = self.rank if self.job == "finetune-lora" else None
        return training_work(model, self.steps, self.batch, rank, size=self.size)
