"""`intaglio sample [METHOD]`: sample pictures from prompts, or replay a picture from the settings in its PNG."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import tyro

import intaglio
from intaglio.commands.kit.console import note, say, shown
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.drawn_again import drawn_again, refuse_another
from intaglio.commands.kit.fit_files import kept_fit
from intaglio.commands.kit.idle_flags import refuse_idle, said_idle, said_idle_like
from intaglio.commands.kit.inputs import ModelAndLoRA, embedded_model, telling_of_default
from intaglio.commands.kit.model_guidance_inputs import ModelGuidanceInputs
from intaglio.commands.kit.png_settings import ModelRecord, PictureSettings, SearchRecord, place
from intaglio.commands.kit.prompt_lines import file_stem, read_prompts
from intaglio.commands.kit.recorded_method import hashed_settings, recorded_method, stored_settings
from intaglio.commands.kit.recorded_search import recorded_start_flags, refuse_another_start
from intaglio.commands.kit.search_inputs import SearchInputs, told_scores
from intaglio.commands.kit.start_inputs import StartInputs, keep_start, start_record
from intaglio.errors import BadInput
from intaglio.files import free_path
from intaglio.sampling.sampler_names import SamplerName

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.picture_series import PictureSeries
    from intaglio.sampling.calls import Calls
    from intaglio.sampling.family import SamplingMethod, SamplingRequest
    from intaglio.sampling.fixed_sampling import Settled
    from intaglio.sampling.guides.model_guidance import ModelGuidance
    from intaglio.sampling.search.best_noise import BestNoise
    from intaglio.sampling.start import NoiseStart

M = TypeVar("M")
OF_SAMPLING = ("count", "seed", "sampler", "steps", "guidance", "negative", "batch", "dtype", "correction", "reference")
OF_SAMPLING += ("search", "budget", "search_verifier", "search_neighbours", "search_cosine")
OF_SAMPLING += ("start", "from_step")
"""Flags that a replay takes from the picture."""


@dataclass(frozen=True, kw_only=True)
class Sample(ModelAndLoRA, ModelGuidanceInputs, SearchInputs, StartInputs, Generic[M]):
    """Draw pictures from prompts, or draw a picture again from the settings it carries.

    The same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    prompt: tuple[str, ...] = ()
    """Prompts, one or more."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    count: int = 1
    """Pictures of each prompt, 1 or more."""
    seed: int = 0
    """Seed of the first picture, 0 to 2**62 - 1; the k-th after it has this number plus k."""
    sampler: SamplerName | None = None
    """Sampler; none takes ddim, the method's own steps, or the sampler a distilled model was made for. On this grid of
    timesteps euler equals ddim, and euler_a equals ddpm."""
    steps: int | None = None
    """Sampling steps, 1 to 1000; none takes 30, or those a distilled model was made for."""
    batch: int = 8
    """Pictures sampled at once, 1 or more."""
    out: Path = Path("pictures")
    """Folder for the pictures; nothing in it is overwritten."""
    replay: Path | None = None
    """A PNG that this command drew: draw it again, and report whether all pixels are the same."""
    metadata: bool = True
    """Write prompt, settings, the model's fingerprint and its place beside the picture into the PNG."""
    device: str = "cpu"
    """Device to compute on, such as cpu, cuda or cuda:1."""
    dtype: Literal["float32", "float16", "bfloat16", "int8"] = "float32"
    """Precision of the weights; int8, of a model of `shrink ptq4dm` on a CPU, without gradients."""

    def __post_init__(self):
        if (sources := bool(self.prompt) + bool(self.prompts) + bool(self.replay)) != 1:
            raise ValueError(f"give one of --prompt, --prompts and --replay, not {sources or 'none'} of them")
        if self.count < 1 or self.batch < 1:
            raise ValueError(f"--count and --batch must be at least 1, not {self.count} and {self.batch}")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise ValueError(f"--steps must be 1 to 1000, not {self.steps}")
        self.check_guidance(has_model=bool(self.model or self.lora or self.replay))
        self.check_search()
        self.check_start(replaying=self.replay is not None)
        if not 0 <= self.seed < 2**62:
            raise ValueError(f"--seed must be 0 to 2**62 - 1, not {self.seed}")

    def __call__(self) -> int:
        """Run the command; returns the exit code: 1 for a replay that differs."""
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest: note(str(message))
            return self._sample() if self.replay is None else self._replay(self.replay)

    @property
    def _method(self) -> "SamplingMethod":
        return cast("SamplingMethod", self.method)

    def _check_method(self) -> None:
        """Raises `BadInput` for flags that the method has no use for."""
        method = self._method
        if method.own_guidance and self.guidance is not None:
            raise BadInput(f"{method.name} has a scale of its own in place of --guidance; leave --guidance out")
        if method.own_sampler and self.sampler is not None:
            raise BadInput(f"{method.name} takes its own steps in place of a sampler's; leave --sampler out")
        if self.base is not None and method.name != "plain":
            raise BadInput(f"--base is a guidance of its own, and cannot go with {method.name}; give one of them")
        if self.base is not None and self.search is not None:
            raise BadInput("--search counts the calls of one model, and cannot go with --base; give one of them")

    # Sampling

    def _sample(self) -> int:
        from intaglio.runs.picture_series import PictureSeries

        self._check_method()
        texts = self._prompts()
        check_count("--count", self.count * len(texts))
        prompts = [prompt for prompt in texts for _ in range(self.count)]
        seeds = [self.seed + k for k in range(len(prompts))]
        if self.guidance == 1 and self.base is None and not self._method.own_guidance:
            for warning in said_idle(self, ("negative",), "--guidance 1 leads away from nothing"):
                note(warning)
        tools = self._tools(texts)
        for warning in said_idle_like(self.like, tools.model, *([tools.guide.base] if tools.guide else [])):
            note(warning)
        names = [f"{file_stem(prompt)}-{seed}.png" for prompt, seed in zip(prompts, seeds, strict=True)]
        if tools.best is not None:
            tools.best.check(self._request(tools, prompts), self._method, tools.settled.sampler)
        elif tools.guide is None:
            self._method.check(self._request(tools, prompts))
        with PictureSeries(self.out, self._key(prompts, tools), names) as series:
            keep_start(tools.start, self.out)
            if len(series):
                note(f"{len(series)} of {len(prompts)} pictures were drawn before")
            if tools.best is None:
                self._draw(tools, prompts, seeds, series)
            else:
                self._search(tools, tools.best, prompts, seeds, series)
        say(f"{len(prompts)} picture{'s' if len(prompts) > 1 else ''} by {tools.model.name} in {self.out}")
        return 0

    def _tools(self, prompts: Sequence[str] = ()) -> "_Tools":
        """What to draw these prompts with."""
        model = self._model()
        settled = self._settled(model)
        start = self.start_of(model, self.model is None and self.lora is None, self.out)
        return _Tools(model, settled, self._guide(model, settled.scale), start, self.best_noise(model, prompts))

    def _settled(self, model: "LatentDiffusion") -> "Settled":
        """Steps, sampler and guidance scale. Raises `BadInput` for those that a distilled model was not made for."""
        from intaglio.sampling.fixed_sampling import refuse_contradiction, settled

        found = settled(model, self.steps, self.sampler, self.guidance)
        plain, by = self.base is None and self._method.takes_distilled, self._method.name
        refuse_contradiction(model, found, first=self.from_step, negative=self.negative, plain=plain, by=by)
        return found

    def _draw(self, tools: "_Tools", prompts: list[str], seeds: list[int], series: "PictureSeries") -> None:
        """Draws the batches of which a picture is still missing, each as in the whole: its size counts for its bits."""
        from intaglio.images.image_set import png_bytes
        from intaglio.runs.run import Run
        from intaglio.sampling.loop import sample_batches

        traces = list[Any]()
        cuts = [range(first, min(first + self.batch, len(prompts))) for first in range(0, len(prompts), self.batch)]
        left = [batch for batch in cuts if any(k not in series for k in batch)]
        if not left:
            return
        if tools.guide is None:
            request = self._request(tools, [prompts[k] for batch in left for k in batch])
            self._tell_cost(request, self._method.planned(request))
        drawn = sample_batches(
            tools.model,
            [prompts[k] for batch in left for k in batch],
            [seeds[k] for batch in left for k in batch],
            **tools.settled.options,
            negative=self.negative,
            **_way(self._method, tools.guide),
            fit=kept_fit(self._method, self._request(tools, []), tools.start, self.out),
            start=tools.start,
            batch=self.batch,
            run=Run.none(progress=shown()),
            told=traces.append,
        )
        for batch, pixels in zip(left, drawn, strict=True):
            for k, picture in zip(batch, pixels, strict=True):
                if k not in series:
                    text = self._png_text(tools, prompts[k], seeds[k], rows=len(pixels))
                    series.save(k, png_bytes(picture, text))
        if traces and (line := self._method.reading_of(traces)):
            note(line)

    def _search(
        self, tools: "_Tools", best: "BestNoise", prompts: list[str], seeds: list[int], series: "PictureSeries"
    ) -> None:
        """Draws each picture that is missing from the best noise of its own search."""
        from intaglio.images.image_set import png_bytes
        from intaglio.runs.run import Run

        if not (left := [k for k in range(len(prompts)) if k not in series]):
            return
        request = self._request(tools, [prompts[k] for k in left])
        self._tell_cost(request, best.planned(request, self._method))
        options: dict[str, Any] = {**tools.settled.options, "negative": self.negative, "method": self._method}
        options |= {"batch": self.batch, "start": tools.start}
        count, scores = best.candidates(request, self._method), list[tuple[float, float]]()
        if count == 1:
            note("the budget is that of one candidate, so that nothing is searched")
        with Run.none(progress=shown()).progress(count * len(left), "candidates") as progress:
            for k in left:
                found = best(tools.model, prompts[k], seeds[k], count=count, advance=progress.advance, **options)
                record = self.search_record(best, found)
                text = self._png_text(tools, prompts[k], seeds[k], rows=found.rows, search=record)
                series.save(k, png_bytes(found.pixels, text))
                scores.append((found.scores[0], found.score))
        note(told_scores(scores, self.search_verifier, count))

    def _tell_cost(self, request: "SamplingRequest", planned: "Calls") -> None:
        """Says what the pictures will cost: calls of networks and time, and joules where there is a profile."""
        from intaglio.commands.kit.energy_lines import energy_line, sample_work
        from intaglio.sampling.plan import sampling_plan

        note(str(sampling_plan(planned, request, self.batch)))
        if self._method.name != "plain" or self.search is not None:
            return  # the estimate knows no other work
        model, count, steps = request.model, len(request.prompts), request.steps
        guided = planned.forward > count * request.nodes
        told = energy_line(self.device, lambda: sample_work(model, count, steps, self.batch, guided=guided))
        if told is not None:
            note(told.line)

    def _request(self, tools: "_Tools", prompts: list[str]) -> "SamplingRequest":
        from intaglio.sampling.family import SamplingRequest
        from intaglio.sampling.loop import nodes_of

        (steps, sampler, scale), start = tools.settled, tools.start
        about = {"first": start.first, "sampler": sampler, "start": start.hash}
        return SamplingRequest(tools.model, prompts, self.negative, scale, steps, nodes_of(sampler, steps), **about)

    def _key(self, prompts: list[str], tools: "_Tools") -> str:
        """sha256 of all that the pictures' files depend on."""
        from intaglio.runs.plain_json import digest

        names = ("seed", "negative", "correction", "reference", "batch", "dtype", "metadata")
        about: dict[str, Any] = {name: getattr(self, name) for name in names}
        steps, sampler, scale = tools.settled
        about |= {"steps": steps, "sampler": sampler, "guidance": scale, "method": hashed_settings(self.method)}
        about["method"]["name"] = self._method.name
        # Without a search and with the usual start the key is that of before there were others.
        if tools.best is not None:
            about["search"] = self.search_key(tools.best)
        if (start := start_record(tools.start)) is not None:
            about["start"] = asdict(start)
        base = None if tools.guide is None else tools.guide.base.fingerprint
        return digest({**about, "prompts": prompts, "model": tools.model.fingerprint, "base": base})

    def _prompts(self) -> list[str]:
        return list(self.prompt) if self.prompts is None else read_prompts(self.prompts)

    def _model(self) -> "LatentDiffusion":
        with telling_of_default("--model", self.model):
            model = self._read(self.model or embedded_model(), self.lora)
        for line in model.notes:
            note(line)
        return model

    def _guide(self, model: "LatentDiffusion", scale: float) -> "ModelGuidance | None":
        """Model guidance, where a base was given."""
        from intaglio.denoising.model_pair import check_pair
        from intaglio.sampling.guides.model_guidance import ModelGuidance

        if self.base is None:
            return None
        base = self._read(self.base)
        check_pair(model, base)
        return ModelGuidance(base, scale, self.correction, self.reference)

    def _read(self, path: Path, lora: Path | None = None) -> "LatentDiffusion":
        import torch

        from intaglio.models.diffusion.loading import load_model

        return load_model(
            path,
            lora=lora,
            like=self.like,
            allow_unmatched=self.skip_unmatched,
            device=self.device,
            dtype=getattr(torch, self.dtype),
        )

    def _png_text(
        self, tools: "_Tools", prompt: str, seed: int, rows: int, search: SearchRecord | None = None
    ) -> dict[str, str]:
        """The PNG's text chunks; none without --metadata."""
        import diffusers
        import torch

        if not self.metadata:
            return {}
        versions = {"intaglio": intaglio.__version__, "torch": torch.__version__, "diffusers": diffusers.__version__}
        model, guide, (steps, sampler, scale) = tools.model, tools.guide, tools.settled
        settings = PictureSettings(
            prompt=prompt,
            negative=self.negative,
            seed=seed,
            sampler=sampler,
            steps=steps,
            guidance=scale,
            size=(self._method.side(model), self._method.side(model)),
            rows=rows,
            dtype=self.dtype,
            device=self.device,
            model=ModelRecord(model.name, model.fingerprint, place(self.model, self.out)),
            lora=place(self.lora, self.out),
            like=place(self.like, self.out),
            base=None
            if guide is None
            else ModelRecord(guide.base.name, guide.base.fingerprint, place(self.base, self.out)),
            correction=self.correction,
            reference=self.reference,
            method=self._method.name,
            method_settings=stored_settings(self.method),
            start=start_record(tools.start, search),
            versions=versions,
        )
        return settings.png_text()

    # Replay

    def _replay(self, path: Path) -> int:
        from intaglio.images.image_set import ImageSet, save_png, to_uint8

        refuse_idle(self, OF_SAMPLING, f"--replay draws {path} by the settings it carries")
        recorded = PictureSettings.read(path)
        command = self._as_recorded(recorded)
        tools = command._tools()
        model, guide = tools.model, tools.guide
        refuse_another(path, recorded.model, model, "--model and --lora")
        if guide is not None and recorded.base is not None:
            refuse_another(path, recorded.base, guide.base, "--base")
        refuse_another_start(path, recorded, tools.start)
        before = ImageSet.load(path, command._method.side(model)).pixels[0]
        way = _way(command._method, guide)
        way["fit"] = kept_fit(command._method, command._request(tools, []), tools.start, self.out, path.parent)
        drawn, rows = drawn_again(recorded, before, model, way, tools.start, path)
        differences = (to_uint8(drawn).int() - to_uint8(before).int()).abs()
        target = free_path(self.out / f"{path.stem}-replay.png")
        search = recorded.start and recorded.start.search
        save_png(drawn, target, command._png_text(tools, recorded.prompt, recorded.seed, rows, search))
        keep_start(tools.start, self.out)
        if differences.any():
            count, largest = int(differences.count_nonzero()), int(differences.max())
            say(f"{path}: {count} of {differences.numel()} values differ, by at most {largest} of 255; see {target}")
            note(f"it was drawn on {recorded.device} with {recorded.versions}")
            return 1
        say(f"{path}: all {differences.numel()} values are the same; see {target}")
        return 0

    def _as_recorded(self, recorded: PictureSettings) -> "Sample":
        """This command with the picture's settings; paths given now replace the recorded ones."""
        base = recorded.base
        if base is None and self.base is not None:
            raise BadInput(f"{self.replay} was drawn without a base; leave --base out")
        names = ("negative", "sampler", "steps", "guidance", "dtype", *(("correction", "reference") if base else ()))
        try:
            return replace(
                self,
                method=recorded_method(recorded, self._method, self.replay),
                **{name: getattr(recorded, name) for name in names},
                model=self.model or recorded.found(recorded.model.path, self.replay, "--model"),
                lora=self.lora or recorded.found(recorded.lora, self.replay, "--lora"),
                like=self.like or recorded.found(recorded.like, self.replay, "--like"),
                **recorded_start_flags(recorded, self.start_pictures, self.start_file, self.replay),
                base=self.base or recorded.found(base.path if base else None, self.replay, "--base"),
            )
        except ValueError as error:
            raise BadInput(f"the settings in {self.replay} do not go together: {error}") from error


@dataclass(frozen=True)
class _Tools:
    """All that a command draws with, as it was read."""

    model: "LatentDiffusion"
    settled: "Settled"
    guide: "ModelGuidance | None"
    start: "NoiseStart"
    best: "BestNoise | None"
    """The search of the noise, where there is one."""


def _way(method: "SamplingMethod", guide: "ModelGuidance | None") -> dict[str, Any]:
    """The method, or the guide where there is one, as keywords of the loop."""
    return {"method": method} if guide is None else {"guide": guide}
