"""`intaglio bench sample`: sampling methods along their knobs, by consistency, diversity, realism and cost."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intaglio.bench.kit.embedded_encoder import embedded_encoder
from intaglio.bench.kit.methods import default_method
from intaglio.bench.sample.bound_scenes import bound_scene_figures
from intaglio.bench.sample.closed_forms import closed_forms
from intaglio.bench.sample.enlargement import enlargement_figures
from intaglio.bench.sample.inner_steps import inner_step_figures
from intaglio.bench.sample.led_classes import led_class_figures
from intaglio.bench.sample.recovered_pictures import reconstruction_figures
from intaglio.bench.sample.row_measures import row_measures
from intaglio.bench.sample.trained_rows import (
    TrainedParts,
    all_starts,
    all_students,
    read_student,
    student_figures,
    student_sampling,
    trained_rows,
)
from intaglio.bench.sample.verifier_gains import GainSettings, verifier_gains
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.distributions import kernel_distance, stretched
from intaglio.metrics.pareto import Pareto
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan
from intaglio.sampling.calls import Calls
from intaglio.sampling.loop import fit_of, sample
from intaglio.sampling.shared_pass import passes_worth
from intaglio.sampling.verifiers.attributes import embedded_attributes, parted
from intaglio.verbs import VERBS

NEGATIVE_STYLE = {"twemoji style": "fluent style", "fluent style": "openmoji style", "openmoji style": "twemoji style"}
"""The style that a negative prompt names, beside the same subject."""
OBJECTIVES = ("consistency", "diversity", "kid", "calls")
LARGER = (True, True, False, False)
GAIN_SEEDS = 2
"""Pictures of each caption over which gains by verifiers are taken."""
FEWEST = 2
"""Pictures of a prompt, at least, for their diversity."""


@dataclass(frozen=True)
class SampleBench:
    """Sampling methods along their knobs: consistency, diversity, realism and calls of the network.

    Captions of the embedded pictures are drawn, the same seeds for all rows. Consistency is the share of pictures whose
    artist is told from them by statistics of style, and whose real picture is among the ten nearest in the encoder;
    diversity the mean over prompts of the Vendi score; realism the kernel distance (KID) to 340 real pictures, beside
    that between their halves, the `floor`, which no method can be told from. All three are proxies. Intervals are over
    prompts. A row is on the front where no other is as good in all of consistency, diversity, KID and calls, and better
    in one. Exact mixtures of normal distributions check the methods whose law is known.

    Students of `intaglio distill` are drawn in their own steps, under the guidance scale 4 where they take one, beside
    the model in 1, 2, 4, 8 and 20 steps under it; starts beside the model in 8. Each is trained first, in a run of its
    own in the same folder, which another bench finds again. `given` draws those that `intaglio distill` has trained
    with other settings.

    Verifiers are measured over two pictures of each caption, in deviations of plain pictures. `search_gain` is what a
    search of eight noises by `attributes:0` adds to the score of `attributes:1`, which was fitted to other pictures and
    shares the encoder that tells the name; `search_gains` has that by the model's own denoiser too, which shares
    nothing with it, and by the judge itself. `svdd_gain` is what SVDD of eight proposals adds to the score of `jpeg`
    that leads it, beside `best_gain`, that of the best of eight plain pictures.
    """

    quick: bool = False
    """Few prompts and seeds, and one setting a method: at most ten minutes."""
    methods: tuple[str, ...] = ()
    """Methods to draw with; none takes all."""
    students: tuple[str, ...] = ()
    """Distillers whose students are drawn with; none takes all where no methods or starts are named."""
    starts: tuple[str, ...] = ()
    """Starts to draw by, analytic or ot; none takes both where no methods or students are named."""
    given: tuple[Path, ...] = ()
    """Folders of students of the embedded model, such as runs/distill-f-.../model, drawn in their own steps too."""
    prompts: int | None = None
    """Captions to draw, 2 or more; none takes 24, 5 with --quick."""
    seeds: int | None = None
    """Pictures of each caption, 2 or more; none takes 16, 4 with --quick."""
    steps: int | None = None
    """Sampling steps of the methods that state none; none takes 20."""
    batch: int = 12
    """Pictures drawn at once, 1 or more."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    seed: int = 0
    """Seed of the first picture of each caption."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""

    def __post_init__(self) -> None:
        for name in ("prompts", "seeds"):
            if getattr(self, name) is not None and getattr(self, name) < FEWEST:
                raise ValueError(f"{name} must be {FEWEST} or more, not {getattr(self, name)}")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise ValueError(f"steps must be 1 to 1000, not {self.steps}")
        if self.batch < 1:
            raise ValueError(f"batch must be 1 or more, not {self.batch}")

    def __call__(self, *, command: Sequence[str] = (), progress: Show = "auto") -> dict[str, Any]:
        """Draws and measures; figures by name, those of each row under `rows`."""
        rows = self._rows()
        settings = {**asdict(self), "runs": None, "rows": rows, "prompts": len(self._prompts)}
        settings["given"] = [str(path) for path in self.given]
        inputs = {"model": {"path": "testbed", "sha256": self._model.fingerprint}}
        inputs |= {f"given_{k}": {"path": str(path), "sha256": sha256} for k, (path, sha256) in enumerate(self._given)}
        about = {"seed": self.seed, "device": self.device, "command": command, "progress": progress}
        with Run.open(self.runs, "bench", "sample", settings, inputs, **about) as run:
            if run.status != "done":
                figures = self._figures(rows, self._measured(rows, run, progress))
                figures |= {
                    **self._gains(run),
                    **self._recovery(),
                    **self._enlargement(),
                    **self._by_parts(progress),
                    **self._composed(),
                }
                run.finish(without_nan(figures))
            return run.summary

    def summary(self, figures: Mapping[str, Any]) -> str:
        """A line a row; those on the front have a star."""
        lines = ["   row                            consistent  diversity        KID   calls  seconds"]
        for name, row in figures["rows"].items():
            star = "*" if row["on_front"] else " "
            lines.append(
                f" {star} {name:<30} {row['consistency']['mean']:>10.1%} {row['diversity']['mean']:>10.2f} "
                f"{row['kid']['mean']:>10.4f} {row['calls']:>7.0f} {row['seconds']:>8.2f}"
            )
        lines.append(f"KID between two halves of the real pictures: {figures['floor']:.4f}")
        if "search_gain" in figures:
            lines.append(
                f"deviations above plain pictures: {figures['search_gain']:.2f} (at least "
                f"{figures['search_gain_low']:.2f}) by a search, "
                f"{figures['search_gains']['denoiser']['mean']:.2f} by one that shares nothing with the judge; "
                f"{figures['svdd_gain']:.2f} by SVDD, {figures['parm_gain']:.2f} by PARM in "
                f"{figures['parm_calls']:.0%} of the calls of eight pictures, and "
                f"{figures['best_gain']:.2f} by the best of these, of jpeg"
            )
        if "stsl_psnr" in figures:
            recovered = ", ".join(f"{name} {figures[f'{name}_psnr']:.2f}" for name in ("stsl", "psld", "blocks"))
            lines.append(f"dB of pictures recovered from a quarter of their side: {recovered}")
        if "upscale_psnr" in figures:
            told = ", ".join(
                f"{name} {figures[f'{name}_psnr']:.1f} dB, {figures[f'{name}_parts']:.1f} parts, detail "
                f"{figures[f'{name}_detail']:.2f}"
                for name in ("upscale", "windows", "bicubic")
            )
            lines.append(f"at twice the size: {told}")
        if "compose_gain" in figures:
            told = ", ".join(
                f"{words} {figures[f'{name}_bound']:.1%} ({figures[f'{name}_correct']:.1%} all correct, "
                f"{figures[f'{name}_calls']:.0f} calls)"
                for name, words in (
                    ("plain", "plain"),
                    ("compose", "compose"),
                    ("compose_again", "with again"),
                    ("best_of_two", "the better of two plain"),
                )
            )
            lines.append(f"scenes of two objects bound: {told}; compose gains {figures['compose_gain']:.1%}")
        if "ilf_difference" in figures:
            told = ", ".join(
                f"{words} {figures[f'{name}_difference']:.5f} at {figures[f'{name}_cost']:.0%} of the cost"
                for name, words in (("ilf", "ilf"), ("caching", "caching"), ("fewer", "fewer full steps"))
            )
            lines.append(f"squared difference from all steps: {told}")
        if "ppap_accuracy" in figures:
            told = ", ".join(
                f"{words} {figures[f'{name}_accuracy']:.1%} (KID {figures[f'{name}_kid']:.4f})"
                for name, words in (("ppap", "five experts"), ("ppap_one", "one"), ("unled", "none"))
            )
            lines.append(f"of the artist led to, by {told}")
        return "\n".join(lines)

    @cached_property
    def _model(self) -> LatentDiffusion:
        return load_model(testbed.base_path(), device=self.device)

    @cached_property
    def _real(self) -> ImageSet:
        return testbed.real_pictures()

    @cached_property
    def _prompts(self) -> list[str]:
        """Captions of the real pictures, evenly spread over them."""
        count = self.prompts or (5 if self.quick else 24)
        captions = [str(caption) for caption in self._real.captions or ()]
        if count > len(captions):
            raise BadInput(f"there are {len(captions)} captions, not {count}; give fewer --prompts")
        return [captions[k * len(captions) // count] for k in range(count)]

    def _rows(self) -> dict[str, dict[str, Any]]:
        """Settings of each row by its name; `guidance` and `steps` are those of the sampling."""
        known = VERBS["sample"].methods
        if unknown := [name for name in self.methods if name not in known]:
            raise BadInput(f"there is no sampling method {unknown[0]!r}; choose from: {', '.join(known)}")
        found = {}
        for name in self._chosen:
            knob = default_method("sample", name).bench
            for settings in knob[len(knob) // 2 :][:1] if self.quick else knob:
                words = " ".join(f"{key} {_short(value)}" for key, value in settings.items())
                found[f"{name} {words}".strip()] = {"method": name, **settings}
        return {**found, **trained_rows(self._students, self._starts, self.given)}

    @property
    def _students(self) -> Sequence[str]:
        if unknown := [name for name in self.students if name not in all_students()]:
            raise BadInput(f"there is no distiller {unknown[0]!r}; choose from: {', '.join(all_students())}")
        return self.students or (() if self.methods or self.starts or self.given else all_students())

    @property
    def _starts(self) -> Sequence[str]:
        if unknown := [name for name in self.starts if name not in all_starts()]:
            raise BadInput(f"there is no start {unknown[0]!r} to draw by; choose from: {', '.join(all_starts())}")
        return self.starts or (() if self.methods or self.students or self.given else all_starts())

    @property
    def _given(self) -> list[tuple[Path, str]]:
        """Folders of the given students, and fingerprints of these."""
        return [(path, read_student(path, self.device).fingerprint) for path in self.given]

    def _measured(self, rows: Mapping[str, Mapping[str, Any]], run: Run, show: Show) -> dict[str, dict[str, Any]]:
        judge = embedded_attributes(embedded_encoder(self.device))
        real, left = stretched(judge.encoder.embed(self._real.pixels).numpy()), run.recorded("row")
        parts = self._parts(show)
        with run.progress(len(rows), "rows", len(left)) as progress:
            for name, row in rows.items():
                if name in left:
                    continue
                pixels, prompts, cost = self._drawn(dict(row), parts)
                for k in range(0, len(prompts), self._seeds):
                    run.save_image(f"{name.replace(' ', '-')}/{k:03d}", pixels[k])
                left[name] = {**row_measures(pixels, prompts, judge, real), **cost}
                run.record("row", name, left[name])
                progress.advance()
        return left

    def _drawn(self, row: dict[str, Any], parts: TrainedParts) -> tuple[torch.Tensor, list[str], dict[str, float]]:
        """Pictures of a row, their prompts, and the cost of a picture; `fit_calls` are of a fit or training."""
        model, start, calls, fitting = self._model, None, Calls(), Calls()
        scale, steps = row.pop("guidance", 5.0), row.pop("steps", self.steps or 20)
        if "student" in row or "given" in row:
            model, fitting = parts.row_student(row)
            steps, scale = student_sampling(model)
            row["method"] = model.sampling.method or row["method"]
        if "start" in row:
            start = parts.start(row.pop("start"))
        method = default_method("sample", row.pop("method"), **row)
        fit = fit_of(model, method, steps=steps, guidance_scale=scale, calls=fitting)
        prompts, drawn, began = list[str](), list[torch.Tensor](), time.monotonic()
        for prompt in self._prompts:
            name, style = parted(prompt)
            seeds = list(range(self.seed, self.seed + self._seeds))
            found = sample(
                model,
                [prompt] * len(seeds),
                seeds,
                steps=steps,
                guidance_scale=scale,
                negative=f"{name}, {NEGATIVE_STYLE[style]}" if method.several_negatives else "",
                method=method,
                fit=fit,
                start=start,
                batch=self.batch,
                calls=calls,
            )
            prompts += [prompt] * len(seeds)
            drawn.append(found.pixels)
        count = len(prompts)
        cost = {name: value / count for name, value in asdict(calls).items()} | {"fit_calls": float(fitting.cost)}
        seconds = (time.monotonic() - began) / count
        return torch.cat(drawn), prompts, {**cost, "calls": cost["forward"] + 2 * cost["backward"], "seconds": seconds}

    def _gains(self, run: Run) -> dict[str, Any]:
        """Gains by verifiers, where all methods are measured, or one that a verifier leads."""
        if "svdd" not in self._chosen:
            return {}
        seeds = range(self.seed, self.seed + GAIN_SEEDS)
        steps = self.steps or (10 if self.quick else 20)
        return verifier_gains(self._model, GainSettings(self._prompts, seeds, steps, self.batch), run)

    @property
    def _chosen(self) -> Sequence[str]:
        some = self.students or self.starts or self.given
        return self.methods or (() if some else tuple(VERBS["sample"].methods))

    def _recovery(self) -> dict[str, float]:
        """Figures of the method that draws no prompt of its own, where it is among those chosen."""
        if "stsl" not in self._chosen:
            return {}
        return reconstruction_figures(self._model, quick=self.quick, seed=self.seed)

    def _enlargement(self) -> dict[str, float]:
        """Figures of the method that draws a picture of its own at another size, where it is among those chosen."""
        if "c-upscale" not in self._chosen:
            return {}
        return enlargement_figures(self._model, self._real, quick=self.quick, seed=self.seed)

    def _shares(self) -> dict[str, float]:
        """Multiplications of the student whose encoder runs once, over those of as many whole calls as it has steps."""
        if "tiue" not in self._students:
            return {}
        steps = default_method("distill", "tiue").student_steps
        return {"tiue_calls_share": passes_worth(self._model, steps) / steps}

    def _by_parts(self, show: Show) -> dict[str, float]:
        """Figures of the methods that draw by a trained part, of those that are chosen."""
        found = dict[str, float]()
        for name, figures in (("ppap", led_class_figures), ("ilf", inner_step_figures)):
            if name in self._chosen:
                found |= figures(self._parts(show), quick=self.quick, seed=self.seed)
        return found

    def _composed(self) -> dict[str, float]:
        """Figures of the method that keeps entities apart, on scenes of two, where it is among those chosen."""
        if "compose" not in self._chosen:
            return {}
        return bound_scene_figures(load_model("scenes64", device=self.device), quick=self.quick, seed=self.seed)

    def _parts(self, show: Show) -> TrainedParts:
        return TrainedParts(self._model, self._real, self.runs, self.quick, self.seed, self.device, show)

    @property
    def _seeds(self) -> int:
        return self.seeds or (4 if self.quick else 16)

    def _figures(self, rows: Mapping[str, Mapping[str, Any]], measured: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        points = np.array([[_value(measured[name][key]) for key in OBJECTIVES] for name in rows])
        pareto = Pareto(points.reshape(-1, len(OBJECTIVES)), LARGER)
        found = {
            name: {**measured[name], "settings": dict(row), "on_front": bool(front)}
            for (name, row), front in zip(rows.items(), pareto.front, strict=True)
        }
        shares = {
            method: float(np.mean([row["on_front"] for row in found.values() if row["settings"]["method"] == method]))
            for method in dict.fromkeys(row["method"] for row in rows.values())
        }
        real = stretched(embedded_encoder(self.device).embed(self._real.pixels).numpy())
        return {
            "methods": len(shares),
            **closed_forms(self._chosen, self.seed),
            "floor": kernel_distance(real[0::2], real[1::2]),
            "pareto_share": shares,
            **student_figures(found),
            **self._shares(),
            "rows": found,
        }


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _value(figure: Any) -> float:
    return float(figure["mean"] if isinstance(figure, Mapping) else figure)
