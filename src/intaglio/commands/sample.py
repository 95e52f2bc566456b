"""`intaglio sample [METHOD]`: sample pictures from prompts, or replay a picture from the settings in its PNG."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from intaglio.commands.kit.console import note, say, say_json, shown, writes_json
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.drawing_inputs import DrawingInputs, DrawingTools
from intaglio.commands.kit.drawn_again import drawn_again, refuse_another
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.fit_files import kept_fit
from intaglio.commands.kit.idle_flags import refuse_idle, said_idle, said_idle_like
from intaglio.commands.kit.png_settings import PictureSettings
from intaglio.commands.kit.prompt_lines import file_stem
from intaglio.commands.kit.recorded_method import recorded_method
from intaglio.commands.kit.recorded_search import recorded_start_flags, refuse_another_start
from intaglio.commands.kit.search_inputs import told_scores
from intaglio.commands.kit.start_inputs import keep_start
from intaglio.errors import BadInput
from intaglio.files import free_path

if TYPE_CHECKING:
    from intaglio.commands.kit.energy_lines import EnergyLine
    from intaglio.runs.picture_series import PictureSeries
    from intaglio.runs.time_plan import TimePlan
    from intaglio.sampling.calls import Calls
    from intaglio.sampling.family import SamplingMethod, SamplingRequest
    from intaglio.sampling.guides.model_guidance import ModelGuidance
    from intaglio.sampling.search.best_noise import BestNoise

M = TypeVar("M")
OF_SAMPLING = ("count", "seed", "sampler", "steps", "guidance", "negative", "batch", "dtype", "correction", "reference")
OF_SAMPLING += ("search", "budget", "search_verifier", "search_neighbours", "search_cosine")
OF_SAMPLING += ("start", "from_step", "cluster", "dry_run")
"""Flags that a replay takes from the picture, or has no use for."""


@dataclass(frozen=True, kw_only=True)
class Sample(DryRun, DrawingInputs[M], Generic[M]):
    """Draw pictures from prompts, or draw a picture again from the settings it carries.

    The same command again goes on where a killed one was.
    """

    writes_json: ClassVar[bool] = True

    def __call__(self) -> int:
        """Run the command; returns the exit code: 1 for a replay that differs."""
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest: note(str(message))
            return self._sample() if self.replay is None else self._replay(self.replay)

    def _sample(self) -> int:
        from intaglio.runs.picture_series import PictureSeries

        self.check_method()
        texts = self.prompt_texts()
        check_count("--count", self.count * len(texts))
        prompts = [prompt for prompt in texts for _ in range(self.count)]
        seeds = [self.seed + k for k in range(len(prompts))]
        if self.guidance == 1 and self.base is None and not self._method.own_guidance:
            for warning in said_idle(self, ("negative",), "--guidance 1 leads away from nothing"):
                note(warning)
        tools = self.tools(texts)
        for warning in said_idle_like(self.like, tools.model, *([tools.guide.base] if tools.guide else [])):
            note(warning)
        names = [f"{file_stem(prompt)}-{seed}.png" for prompt, seed in zip(prompts, seeds, strict=True)]
        if tools.best is not None:
            tools.best.check(self.request(tools, prompts), self._method, tools.settled.sampler)
        elif tools.guide is None:
            self._method.check(self.request(tools, prompts))
        if self.dry_run:
            return self._planned(tools, prompts)
        with PictureSeries(self.out, self.series_key(prompts, tools), names) as series, self.spread():
            keep_start(tools.start, self.out)
            if len(series):
                note(f"{len(series)} of {len(prompts)} pictures were drawn before")
            if tools.best is None:
                self._draw(tools, prompts, seeds, series)
            else:
                self._search(tools, tools.best, prompts, seeds, series)
        say(f"{len(prompts)} picture{'s' if len(prompts) > 1 else ''} by {tools.model.name} in {self.out}")
        if writes_json():
            say_json({"folder": str(self.out), "pictures": series.written, "prompts": prompts, "seeds": seeds})
        return 0

    def _planned(self, tools: DrawingTools, prompts: list[str]) -> int:
        """Prints what all of the pictures cost; returns the exit code."""
        request = self.request(tools, prompts)
        if tools.guide is not None:
            raise BadInput("--base guides by another model, whose calls no plan counts; leave --dry-run or --base out")
        of_all = tools.best.planned(request, self._method) if tools.best else self._method.planned(request)
        self.ends_with(*self._cost(request, of_all))
        return 0

    def _draw(self, tools: DrawingTools, prompts: list[str], seeds: list[int], series: "PictureSeries") -> None:
        """Draws the pieces of which a picture is still missing, each as in the whole: its size counts for its bits."""
        from intaglio.images.image_set import png_bytes
        from intaglio.runs.run import Run
        from intaglio.sampling.picture_pieces import drawn_pieces, picture_pieces

        traces = list[Any]()
        cut = picture_pieces(prompts, seeds, self.batch)
        left = [piece for piece in cut if any(k not in series for k in piece.places)]
        if not left:
            return
        if tools.guide is None:
            request = self.request(tools, [prompt for piece in left for prompt in piece.prompts])
            self._tell_cost(request, self._method.planned(request))
        drawn = drawn_pieces(
            tools.model,
            left,
            **tools.settled.options,
            negative=self.negative,
            **_way(self._method, tools.guide),
            fit=kept_fit(self._method, self.request(tools, []), tools.start, self.out),
            start=tools.start,
            run=Run.none(progress=shown()),
            told=traces.append,
        )
        for piece, pixels in drawn:
            for k, picture in zip(piece.places, pixels, strict=True):
                if k not in series:
                    text = self.png_text(tools, prompts[k], seeds[k], rows=len(pixels))
                    series.save(k, png_bytes(picture, text))
        if traces and (line := self._method.reading_of(traces)):
            note(line)

    def _search(
        self, tools: DrawingTools, best: "BestNoise", prompts: list[str], seeds: list[int], series: "PictureSeries"
    ) -> None:
        """Draws each picture that is missing from the best noise of its own search."""
        from intaglio.images.image_set import png_bytes
        from intaglio.runs.run import Run
        from intaglio.sampling.picture_pieces import picture_pieces, searched_pictures

        left = [piece for piece in picture_pieces(prompts, seeds, 1) if piece.places[0] not in series]
        if not left:
            return
        request = self.request(tools, [piece.prompts[0] for piece in left])
        self._tell_cost(request, best.planned(request, self._method))
        options: dict[str, Any] = {**tools.settled.options, "negative": self.negative, "method": self._method}
        options |= {"batch": self.batch, "start": tools.start}
        count, scores = best.candidates(request, self._method), dict[int, tuple[float, float]]()
        if count == 1:
            note("the budget is that of one candidate, so that nothing is searched")
        run = Run.none(progress=shown())
        for piece, found in searched_pictures(tools.model, best, left, count=count, run=run, **options):
            (k,) = piece.places
            record = self.search_record(best, found)
            text = self.png_text(tools, prompts[k], seeds[k], rows=found.rows, search=record)
            series.save(k, png_bytes(found.pixels, text))
            scores[k] = found.scores[0], found.score
        note(told_scores([scores[k] for k in sorted(scores)], self.search_verifier, count))

    def _tell_cost(self, request: "SamplingRequest", planned: "Calls") -> None:
        """Says what pictures cost before they are drawn."""
        plan, energy = self._cost(request, planned)
        note(str(plan) if self.cluster is None else f"{plan} on this machine alone")
        if energy is not None:
            note(energy.line)

    def _cost(self, request: "SamplingRequest", planned: "Calls") -> "tuple[TimePlan, EnergyLine | None]":
        """Calls of networks and time of pictures, and joules where there is a profile and nothing is searched."""
        from intaglio.commands.kit.energy_lines import energy_line, sample_work
        from intaglio.sampling.plan import sampling_plan

        plan = sampling_plan(planned, request, self.batch)
        if self._method.name != "plain" or self.search is not None:
            return plan, None  # the estimate knows no other work
        model, count, steps = request.model, len(request.prompts), request.steps
        guided = planned.forward > count * request.nodes
        return plan, energy_line(self.device, lambda: sample_work(model, count, steps, self.batch, guided=guided))

    # Replay

    def _replay(self, path: Path) -> int:
        from intaglio.images.image_set import ImageSet, save_png, to_uint8

        refuse_idle(self, OF_SAMPLING, f"--replay draws {path} by the settings it carries")
        recorded = PictureSettings.read(path)
        command = self._as_recorded(recorded)
        tools = command.tools()
        model, guide = tools.model, tools.guide
        refuse_another(path, recorded.model, model, "--model and --lora")
        if guide is not None and recorded.base is not None:
            refuse_another(path, recorded.base, guide.base, "--base")
        refuse_another_start(path, recorded, tools.start)
        before = ImageSet.load(path, command._method.side(model)).pixels[0]
        way = _way(command._method, guide)
        way["fit"] = kept_fit(command._method, command.request(tools, []), tools.start, self.out, path.parent)
        drawn, rows = drawn_again(recorded, before, model, way, tools.start, path)
        differences = (to_uint8(drawn).int() - to_uint8(before).int()).abs()
        target = free_path(self.out / f"{path.stem}-replay.png")
        search = recorded.start and recorded.start.search
        save_png(drawn, target, command.png_text(tools, recorded.prompt, recorded.seed, rows, search))
        keep_start(tools.start, self.out)
        if writes_json():
            about = {"values_that_differ": int(differences.count_nonzero()), "values": differences.numel()}
            say_json({"folder": str(self.out), "pictures": [target.name], **about})
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


def _way(method: "SamplingMethod", guide: "ModelGuidance | None") -> dict[str, Any]:
    """The method, or the guide where there is one, as keywords of the loop."""
    return {"method": method} if guide is None else {"guide": guide}
