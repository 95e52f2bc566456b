"""`intaglio flow train`: maximum-likelihood training of a flow on a folder of pictures."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from intaglio.commands.kit.console import command_line, note, say, shown
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import said_idle
from intaglio.data_files import is_number
from intaglio.errors import IntaglioError
from intaglio.flow.training.settings import FlowTraining

if TYPE_CHECKING:
    from intaglio.flow.training.data import FlowPictures
    from intaglio.flow.training.training import TrainedFlow
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan

MODEL = "model"
KEPT = 64
"""Most training pictures that a run keeps, for its report."""


@dataclass(frozen=True, kw_only=True)
class FlowTrain(DryRun, FlowTraining):
    """Train a TarFlow (arXiv 2412.06329) on a folder of pictures. The same command again goes on where a killed one
    was.
    """

    images: Path
    """Folder of pictures, or with --classes of a folder of pictures for each class."""
    classes: bool = False
    """Each subfolder is a class, with its name."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""
    device: str = "cpu"
    """Where to compute, such as cpu, cuda or cuda:1."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read, with a warning, in place of stopping."""
    sample_count: int = 4
    """Sample pictures drawn at the end, each with its own fixed seed, of the classes in turns; 0 draws none."""

    def __post_init__(self) -> None:
        FlowTraining.__post_init__(self)
        if self.sample_count < 0:
            raise ValueError(f"sample_count must not be negative: {self.sample_count}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        check_count("--sample-count", self.sample_count)
        from intaglio.flow.training.data import load_pictures
        from intaglio.flow.training.training import train_flow
        from intaglio.learning.checkpoints import STATE

        data = load_pictures(self.images, self.resolution, classes=self.classes, skip_bad=self.skip_bad)
        if self.dry_run and self.ends_with(self._plan(data)):
            return 0
        with self._open(data) as run:
            folder = run.folder or Path()
            if run.status != "done":
                for warning in (*self._idle(), *data.images.warnings):
                    run.warn(warning)
                self.begin(run, self._plan(data))
                for name, picture in zip(data.images.names[:KEPT], data.images.pixels, strict=False):
                    run.save_image(f"data/{name}", picture)
                trained = train_flow(data, self.training, run=run, device=self.device)
                trained.save(folder / MODEL, card(trained, data))
                self._draw(trained, run)
                run.finish(
                    {
                        "model": MODEL,
                        "pictures": len(data),
                        "classes": data.classes,
                        "steps": len(trained.losses),
                        "parameters": sum(weight.numel() for weight in trained.model.parameters()),
                        "held_out_loss": trained.held_out,
                        "loss_last_tenth": _last(trained),
                    },
                    (MODEL,),
                )
            run.drop_state(STATE)
            if is_number(loss := run.summary.get("held_out_loss")):
                note(f"held-out loss {loss:.4f} nats a dimension, less ln(2 pi) / 2")
            say(str(folder / MODEL))
        return 0

    def _plan(self, data: "FlowPictures") -> "TimePlan":
        from intaglio.flow.training.training_plan import training_plan

        return training_plan(data, self.training, samples=self.sample_count, device=self.device)

    def _draw(self, trained: "TrainedFlow", run: "Run") -> None:
        """Keeps the sample pictures; a flow that cannot draw them is told in a warning, as its training stands."""
        from intaglio.flow.training.drawn_samples import drawn_samples

        if not self.sample_count:
            return
        try:
            drawn = drawn_samples(trained.model, self.sample_count)
        except IntaglioError as error:
            run.warn(f"no sample pictures were drawn: {error}")
            return
        for name, picture in zip(drawn.names, drawn.pixels, strict=True):
            run.save_image(f"samples/{Path(name).stem}", picture)

    def _idle(self) -> list[str]:
        """Warnings of flags that this training does not use."""
        found = [] if self.classes else said_idle(self, ("label_dropout",), "without --classes there are no labels")
        return found + (
            [] if self.minutes is None else said_idle(self, ("steps",), "--minutes takes the place of steps")
        )

    @property
    def training(self) -> FlowTraining:
        """The settings that determine the weights."""
        return FlowTraining(**{field.name: getattr(self, field.name) for field in fields(FlowTraining)})

    def _open(self, data: "FlowPictures") -> "Run":
        from intaglio.runs.run import Run

        inputs = {"images": {"path": str(self.images), "sha256": data.fingerprint}}
        settings = {**asdict(self.training), "classes": self.classes, "sample_count": self.sample_count}
        return Run.open(
            self.runs,
            "flow",
            "train",
            settings,
            inputs,
            seed=self.seed,
            device=self.device,
            command=command_line(),
            progress=shown(),
        )


def _last(trained: "TrainedFlow") -> float:
    return float(trained.losses[-max(1, len(trained.losses) // 10) :].mean())


def card(trained: "TrainedFlow", data: "FlowPictures") -> str:
    """The model card: architecture, training data and settings, held-out loss."""
    config, settings = trained.model.config, trained.settings
    parameters = sum(weight.numel() for weight in trained.model.parameters())
    kept = len(data) - max(1, round(settings.held_out * len(data))) if settings.held_out else len(data)
    classes = f", in {len(data.classes)} classes ({', '.join(data.classes)})" if data.classes else ""
    height, width = config.image_size
    noise = f"Gaussian noise of deviation {settings.noise}" if settings.noise else "uniform dequantisation"
    layers = "-".join(map(str, config.layers_per_block))
    shape = (
        f"{parameters:,} parameters: {config.num_blocks} blocks of {layers} layers, width {config.hidden_size}, "
        f"heads of {config.head_dim}; {config.tokens} patches of {config.patch_size}x{config.patch_size} pixels "
        "(arXiv 2412.06329)."
    )
    mean = f", mean of the weights {settings.ema}" if settings.ema else ""
    training = (
        f"Trained on {kept} pictures{classes}, with {noise}: {len(trained.losses)} steps of {settings.batch}, AdamW at "
        f"{settings.learning_rate:g}{mean}, seed {settings.seed}. Loss on {len(data) - kept} held-out pictures: "
        f"{trained.held_out:.4f} nats a dimension, less ln(2 pi) / 2; with Gaussian noise it is that of noisy "
        "pictures, not to be compared with bits of clean ones."
    )
    return f"# A TarFlow of {height}x{width} pictures\n\n{fill(shape, 120)}\n\n{fill(training, 120)}\n"
