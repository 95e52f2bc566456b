"""`intaglio bench attribution`: sources of pictures told apart, and unknown sources told from known ones."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from intaglio.audit.attribution.family import SourceAttributor
from intaglio.bench.attribution.figures import figures_of, table_of
from intaglio.bench.attribution.fitted_row import DrawnSources, fitted_row
from intaglio.bench.attribution.source_scene import KNOWN, UNKNOWN, SourceScene
from intaglio.bench.kit.methods import default_methods
from intaglio.errors import BadInput
from intaglio.images.image_set import to_uint8
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.verbs import VERBS

VERB = "audit attribution"
QUICK = {"timesteps": 4}
"""Settings of methods of a quick bench."""
PLACED = ("real", "real-decoded", "base-ddim", "base-dpm", "decoder-tuned", "lora-a", "lora-b")
"""Known sources whose pictures are of the captions of the real ones."""


@dataclass(frozen=True, kw_only=True)
class AttributionBench:
    """Every attribution of pictures to sources: known sources told apart, unknown ones from them.

    Known sources: real pictures of the base's artists, and these after its autoencoder; the base by DDIM at guidance 3,
    by DPM++ 2M in half of the steps, with its decoder tuned on further real pictures, with one of two LoRAs of ten
    pictures; the flow cpu-small. Seven tenths of each teach, the others test, and no caption is in both. Unknown ones,
    which no method sees: another LoRA and real pictures by another artist (unknown by data), the decoder tuned with
    another seed (seed), the flow cpu-tiny and the transformer emoji64-flow with the base's autoencoder (architecture),
    the base by the ancestral sampler (sampler). All pictures are 64 pixels a side, of 8 bits; the flows draw 32 pixels,
    and are enlarged alike. Post-processed are all that test, by one to three of JPEG, crop, resizing, rotation,
    contrast, brightness, blur and grey.

    Methods that ask models are given the base, its tuned copy and the LoRAs, made again. `accuracy` is the share whose
    likeliest source is their own, averaged over the known ones; ECE its calibration error; `attributed` the share
    attributed to their own source, and `false` that to another, which the rate bounds for plain pictures. By each kind
    of unknown sources: the AUROC of the knownness, the OSCR, the share of the unknown that a threshold keeps which
    keeps 95% of the known, and the share that is attributed to any source. `pairs` is the AUC by which the cosine of
    their features tells pairs of pictures of one source from pairs of two, of known sources, and `new pairs` with
    unknown ones.
    """

    quick: bool = False
    """60 pictures a source in place of 200, 12 steps a picture in place of 20, half of the timesteps of a loss, shorter
    trainings, and a rate of 15%, the lowest that so few held-out pictures allow: minutes."""
    rows: tuple[str, ...] = ()
    """Methods to measure; none takes all."""
    seed: int = 0
    """Of pictures, trainings and methods, from 0."""
    workers: int | None = None
    """Processes that sources and rows are spread over; none takes one a core on the CPU, else one."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be 0 to 2**31 - 1, not {self.seed}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        known = tuple(VERBS[VERB].methods)
        if unknown := [name for name in self.rows if name not in known]:
            raise BadInput(f"there is no row {unknown[0]!r}; choose from: {', '.join(known)}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Measure; headline figures by name, and those of every row by condition under `rows`."""
        settings = {
            "rate": self._rate,
            "scene": self._counts,
            "rows": {name: asdict(method) for name, method in self._methods.items()},
        }
        inputs = {"model": {"path": "testbed", "sha256": self._scene.base.fingerprint}}
        about: dict[str, Any] = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "attribution", settings, inputs, **about) as run:
            if run.status != "done":
                self._measure(run)
                run.finish(figures_of(run, self._rate))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """The rows as tables: known sources, then unknown ones."""
        return table_of(figures)

    @property
    def _rate(self) -> float:
        return 0.15 if self.quick else 0.05

    @property
    def _counts(self) -> dict[str, int]:
        """Pictures of a source, updates of LoRAs and decoders, steps of a picture."""
        if self.quick:
            return {"each": 60, "tuned": 60, "decoded": 100, "steps": 12}
        return {"each": 200, "tuned": 100, "decoded": 300, "steps": 20}

    @cached_property
    def _scene(self) -> SourceScene:
        base: LatentDiffusion = load_model(testbed.base_path(), device=self.device)
        return SourceScene(base, seed=self.seed, **self._counts)

    @cached_property
    def _methods(self) -> dict[str, SourceAttributor]:
        changes = QUICK if self.quick else {}
        every: dict[str, SourceAttributor] = default_methods(VERB, seed=self.seed, **changes)
        return {name: method for name, method in every.items() if not self.rows or name in self.rows}

    def _measure(self, run: Run) -> None:
        workers = self.workers or workers_for(self.device)
        drawn = self._drawn(run, workers)
        left = [name for name in self._methods if name not in run.recorded("row")]
        with run.progress(len(self._methods), "methods", len(self._methods) - len(left)) as progress:
            for (name, _), found in fan_out(self._row, [(name, drawn) for name in left], workers):
                run.record("row", name, found)
                progress.advance()

    def _drawn(self, run: Run, workers: int) -> DrawnSources:
        """All sources' pictures, of which those are made that were not kept."""
        names = (*KNOWN, *UNKNOWN)
        kept = {name: state[0]["levels"] for name in names if (state := run.load_state(f"source {name}")) is not None}
        left = [name for name in names if name not in kept]
        with run.progress(len(names), "sources", len(names) - len(left)) as progress:
            for name, levels in fan_out(self._levels, left, workers):
                run.save_state(f"source {name}", {"levels": levels}, {})
                kept[name] = levels
                progress.advance()
        captions = {name: self._scene.prompts(name) for name in PLACED}
        return DrawnSources({name: kept[name] for name in names}, captions, self._scene.taught, self.seed)

    def _levels(self, name: str) -> UInt8[Tensor, "n 3 h w"]:
        """Pictures of a source, 0 to 255."""
        return to_uint8(self._scene.pictures(name))

    def _row(self, job: tuple[str, DrawnSources]) -> dict[str, Any]:
        """Numbers of one method."""
        name, drawn = job
        method = self._methods[name]
        return fitted_row(method, drawn, self._rate, self._scene.models() if method.needs_models else {})
