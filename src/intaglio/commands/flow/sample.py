"""`intaglio flow sample [DECODER]`: pictures of a flow, each by its seed."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import tyro

import intaglio
from intaglio.commands.flow.inputs import FlowGuidance, FlowModel, label_index
from intaglio.commands.kit.console import command_line, note, say, shown
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.runs.machine import memory_bytes

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

    from intaglio.commands.kit.energy_lines import EnergyLine
    from intaglio.flow.family import Decoder
    from intaglio.flow.results import DecodedPictures, PassCallback
    from intaglio.models.flow.tarflow_files import LoadedFlow
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan

M = TypeVar("M")
CHUNK = "intaglio"
RESULT = "result"


@dataclass(frozen=True, kw_only=True)
class FlowSample(DryRun, FlowGuidance, FlowModel, Generic[M]):
    """Draw pictures from a normalising flow. A picture belongs to its seed, whatever the batch; the same command again
    goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    count: int = 16
    """Pictures to draw, 1 or more."""
    seed: int = 0
    """Seed of the first picture; the others count on from it."""
    label: tuple[str, ...] = ()
    """Classes by name or number, for the pictures in turns; `none` for no class. None given: no picture has one."""
    denoise: bool | None = None
    """Remove the noise that the model was trained with; None: if it was trained with any."""
    on_nonfinite: Literal["raise", "resample"] = "raise"
    """What to do with a picture that overflows: stop, or draw it from its seed's next noise and count it."""
    preview_every: int = 0
    """Keep the first picture as it is after every so many passes, in images/preview; 0 keeps none."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 1:
            raise ValueError(f"--count must be at least 1, not {self.count}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative: {self.seed}")
        if self.preview_every < 0:
            raise ValueError(f"preview_every must not be negative: {self.preview_every}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        check_count("--count", self.count)
        flow = self.loaded()
        self._check_memory(flow)
        labels = self._labels(flow)
        seeds = range(self.seed, self.seed + self.count)
        if self.dry_run and self.ends_with(self._plan(flow), self._energy(flow)):
            return 0
        with self._open(flow) as run:
            folder = (run.folder or Path()) / RESULT
            if run.status != "done":
                for warning in self.idle():
                    run.warn(warning)
                energy = self._energy(flow)
                self.begin(run, self._plan(flow), energy)
                decoded = self._decoded(flow, seeds, labels, run)
                texts = [{CHUNK: json.dumps(self._text(flow, seed))} for seed in seeds]
                decoded.save(folder, texts)
                self._keep(run, decoded, {} if energy is None else energy.summary)
            for start in range(0, self.count, self.decoder.batch):
                run.drop_state(f"batch-{start}")
            note(_sentence(run.summary))
            say(str(folder / "pictures"))
        return 0

    def _plan(self, flow: "LoadedFlow") -> "TimePlan":
        from intaglio.flow.decoding_plan import decoding_plan

        guidance, denoise = self.as_guidance(), self._denoises(flow)
        decoder = self.decoder.prepared(flow.model, self.count, guidance, lambda said: None)
        return decoding_plan(flow.model, decoder, self.count, guidance, denoise=denoise)

    def _denoises(self, flow: "LoadedFlow") -> bool:
        return bool(flow.model.config.noise_std) if self.denoise is None else self.denoise

    def _energy(self, flow: "LoadedFlow") -> "EnergyLine | None":
        """The estimate of all pictures; None too for a decoder that does not say its passes before it makes them."""
        from intaglio.commands.kit.energy_lines import energy_line
        from intaglio.commands.kit.flow_energy import drawing_work, is_exact, is_told

        model, guidance = flow.model, self.as_guidance()
        decoder = self.decoder.prepared(model, self.count, guidance, lambda said: None)
        if not is_told(decoder, model):
            return None
        work = partial(drawing_work, model, decoder, self.count, guidance, self._denoises(flow))
        return energy_line(self.device, work, at_most=not is_exact(decoder, model))

    def _decoded(
        self, flow: "LoadedFlow", seeds: range, labels: "Int64[Tensor, 'n'] | None", run: "Run"
    ) -> "DecodedPictures":
        from intaglio.flow.sampling import sample_flow

        return sample_flow(
            flow.model,
            seeds,
            self.decoder,
            labels=labels,
            guidance=self.as_guidance(),
            denoise=self.denoise,
            resample=self.on_nonfinite == "resample",
            watch=self._previews(flow, run),
            run=run,
        )

    def _labels(self, flow: "LoadedFlow") -> "Int64[Tensor, 'n'] | None":
        import torch

        if not self.label:
            return None
        if not flow.model.config.num_classes:
            raise BadInput(f"{flow.name} was trained without classes; leave --label out")
        indices = [label_index(word, flow) for word in self.label]
        return torch.tensor([indices[index % len(indices)] for index in range(self.count)], dtype=torch.int64)

    def _previews(self, flow: "LoadedFlow", run: "Run") -> "PassCallback | None":
        """A callback that keeps the first picture every so many passes; None where none is asked for."""
        if not self.preview_every:
            return None
        model, passes_so_far = flow.model, itertools.count(1)

        def watch(block: int, passes: int, u: "Float[Tensor, 'n t c']", final: int) -> None:
            so_far = next(passes_so_far)
            if so_far % self.preview_every == 0 and len(u):
                picture = ((model.pictures(u[:1]).float() + 1) / 2).clamp(0, 1)[0].expand(3, -1, -1)
                run.save_image(f"preview/{so_far:06d}-block{block}-{final}", picture)

        return watch

    def _keep(self, run: "Run", decoded: "DecodedPictures", energy: Mapping[str, Any]) -> None:
        report = decoded.report
        for block in report.blocks:
            run.record(
                "block",
                f"{block.block:02d}",
                {
                    "method": block.method,
                    "passes": block.passes,
                    "token_passes": block.token_passes,
                    "seconds": block.seconds,
                    "clamped": block.clamped,
                    "residual": block.residual,
                    "fallbacks": block.fallbacks,
                },
            )
            for line in block.fallbacks:
                run.warn(f"block {block.block}: {line}")
        if report.redrawn:
            seeds = ", ".join(str(self.seed + index) for index in report.redrawn)
            run.warn(f"overflowed and were drawn from their seed's next noise: {seeds}")
        for name, picture in zip(decoded.pictures.names, decoded.pictures.pixels, strict=True):
            run.save_image(Path(name).stem, picture)
        run.finish({**decoded.figures(), **energy, "pictures_in": f"{RESULT}/pictures"}, (RESULT,))

    def _text(self, flow: "LoadedFlow", seed: int) -> dict[str, Any]:
        """The settings that a picture's file records, with the command line that draws it again."""
        label = self.label[(seed - self.seed) % len(self.label)] if self.label else None
        return {
            "seed": seed,
            "label": label,
            "decoder": self.decoder.name,
            "settings": _plain(asdict(self.decoder)),
            "guidance": asdict(self.as_guidance()),
            "model": {"name": flow.name, "fingerprint": flow.fingerprint},
            "dtype": self.dtype,
            "device": self.device,
            "version": intaglio.__version__,
            "command": self._words(),
        }

    def _words(self) -> list[str]:
        """The command line that draws the pictures again, without any place on this machine."""
        words, kept = iter(command_line()), []
        for word in words:
            if word == "--runs":
                next(words, None)
            elif word == "--model":
                kept += [word, Path(next(words, "")).name]
            elif word and not word.startswith("--runs="):
                kept.append(word)
        return kept

    def _check_memory(self, flow: "LoadedFlow") -> None:
        """Raises `BadInput` where the latents alone are more than the machine's memory."""
        config = flow.model.config
        needed, there = 4 * self.count * config.tokens * config.token_width, memory_bytes()
        if there is not None and needed > there:
            raise BadInput(
                f"--count {self.count:,} pictures of {flow.name} need {needed / 2**30:.0f} GiB, and the machine has "
                f"{there / 2**30:.0f}; draw them in parts, each from its own --seed"
            )

    def _open(self, flow: "LoadedFlow") -> "Run":
        from intaglio.runs.run import Run

        own = ("count", "seed", "label", "denoise", "on_nonfinite", "preview_every", "dtype")
        settings = {
            **_plain(asdict(self.decoder)),
            **{key: getattr(self, key) for key in own},
            "guidance": asdict(self.as_guidance()),
        }
        inputs = {
            "model": {"path": self.model, "sha256": flow.fingerprint},
            **self.decoder.inputs(flow.model, self.count, self.as_guidance()),
        }
        return Run.open(
            self.runs,
            "flow",
            f"sample-{self.decoder.name}",
            settings,
            inputs,
            seed=self.seed,
            device=self.device,
            command=command_line(),
            progress=shown(),
        )

    @property
    def decoder(self) -> "Decoder":
        """The method, as the decoder that it is."""
        return cast("Decoder", self.method)


def _sentence(summary: dict[str, Any]) -> str:
    figures = Fields.of(summary, "the summary in run.json", "delete the run's folder, and the same command draws again")
    residual = figures.number("residual", None)
    proof = "" if residual is None else f"; residual {residual:.1e}"
    return (
        f"{figures.whole('pictures')} pictures by {figures.text('decoder')}, {figures.number('seconds'):.2f} s of "
        f"decoding, {figures.number('forwards'):.1f} forward passes{proof}"
    )


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
