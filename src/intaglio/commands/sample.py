"""`intaglio sample [METHOD]`: sample pictures from prompts, or replay a picture from the settings in its PNG."""

import re
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import tyro

import intaglio
from intaglio.commands.kit.console import note, say, shown
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.idle_flags import refuse_idle, said_idle, said_idle_like
from intaglio.commands.kit.inputs import ModelAndLoRA, embedded_model
from intaglio.commands.kit.png_settings import LONGEST_PROMPT, ModelRecord, PictureSettings, place
from intaglio.commands.kit.recorded_method import recorded_method, stored_settings
from intaglio.data_files import read_text
from intaglio.errors import BadInput
from intaglio.files import free_path
from intaglio.sampling.sampler_names import SamplerName

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.picture_series import PictureSeries
    from intaglio.sampling.family import SamplingMethod
    from intaglio.sampling.guides.model_guidance import ModelGuidance

M = TypeVar("M")
GUIDANCE, SAMPLER = 5.0, "ddim"
"""Guidance scale and sampler where none is given."""
OF_SAMPLING = ("count", "seed", "sampler", "steps", "guidance", "negative", "batch", "dtype", "correction", "reference")
"""Flags that a replay takes from the picture."""


@dataclass(frozen=True, kw_only=True)
class Sample(ModelAndLoRA, Generic[M]):
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
    """Sampler; none takes ddim, or the method's own steps. On this grid of timesteps euler equals ddim, and euler_a
    equals ddpm."""
    steps: int = 30
    """Sampling steps, 1 to 1000."""
    guidance: float | None = None
    """Guidance scale: 1 is none, 3 to 10 is usual; none takes 5, or the method's own."""
    negative: str = ""
    """Negative prompt of the guidance; for methods that take several, apart by `|`."""
    base: Path | None = None
    """The model that --model was fine-tuned from: guidance then leads away from its prediction in place of that under
    --negative, towards what the fine-tune learned (model guidance, arXiv 2410.03039)."""
    correction: float = 0.0
    """With --base: added to the factor of its prediction, between -1 and 1 and near 0; each step takes out that much
    more noise."""
    reference: Literal["empty", "prompt"] = "empty"
    """With --base: the prompt that the base is given, the empty one or the picture's."""
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
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the weights."""

    def __post_init__(self):
        if (sources := bool(self.prompt) + bool(self.prompts) + bool(self.replay)) != 1:
            raise ValueError(f"give one of --prompt, --prompts and --replay, not {sources or 'none'} of them")
        if self.count < 1 or self.batch < 1:
            raise ValueError(f"--count and --batch must be at least 1, not {self.count} and {self.batch}")
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"--steps must be 1 to 1000, not {self.steps}")
        if self.guidance is not None and not 0 <= self.guidance < float("inf"):
            raise ValueError(f"--guidance must be 0 or more, and finite, not {self.guidance}")
        self._check_model_guidance()
        if not 0 <= self.seed < 2**62:
            raise ValueError(f"--seed must be 0 to 2**62 - 1, not {self.seed}")

    def _check_model_guidance(self) -> None:
        if self.base is None:
            if self.correction or self.reference != "empty":
                raise ValueError("--correction and --reference belong to --base; give the model that was fine-tuned")
            return
        if self.negative:
            raise ValueError("--base takes the place of --negative; give one of them")
        if not (self.model or self.lora or self.replay):
            raise ValueError("--base needs --model or --lora, the fine-tune that it leads away to")
        if self._scale < 1:
            raise ValueError(f"--guidance must be 1 or more beside --base, not {self.guidance}")
        if not -1 < self.correction < 1:
            raise ValueError(f"--correction must lie between -1 and 1, near 0, not {self.correction}")
        if self.correction and self.reference != "empty":
            raise ValueError("--correction belongs to --reference empty; leave one of them out")

    def __call__(self) -> int:
        """Run the command; returns the exit code: 1 for a replay that differs."""
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest: note(str(message))
            return self._sample() if self.replay is None else self._replay(self.replay)

    @property
    def _method(self) -> "SamplingMethod":
        return cast("SamplingMethod", self.method)

    @property
    def _scale(self) -> float:
        return GUIDANCE if self.guidance is None else self.guidance

    @property
    def _sampler(self) -> str:
        return self.sampler or SAMPLER

    def _check_method(self) -> None:
        """Raises `BadInput` for flags that the method has no use for."""
        method = self._method
        if method.own_guidance and self.guidance is not None:
            raise BadInput(f"{method.name} has a scale of its own in place of --guidance; leave --guidance out")
        if method.own_sampler and self.sampler is not None:
            raise BadInput(f"{method.name} takes its own steps in place of a sampler's; leave --sampler out")
        if self.base is not None and method.name != "plain":
            raise BadInput(f"--base is a guidance of its own, and cannot go with {method.name}; give one of them")

    # Sampling

    def _sample(self) -> int:
        from intaglio.runs.picture_series import PictureSeries

        self._check_method()
        texts = self._prompts()
        check_count("--count", self.count * len(texts))
        prompts = [prompt for prompt in texts for _ in range(self.count)]
        seeds = [self.seed + k for k in range(len(prompts))]
        if self._scale == 1 and self.base is None and not self._method.own_guidance:
            for warning in said_idle(self, ("negative",), "--guidance 1 leads away from nothing"):
                note(warning)
        model = self._model()
        guide = self._guide(model)
        for warning in said_idle_like(self.like, model, *([guide.base] if guide else [])):
            note(warning)
        names = [f"{_file_stem(prompt)}-{seed}.png" for prompt, seed in zip(prompts, seeds, strict=True)]
        with PictureSeries(self.out, self._key(prompts, model, guide), names) as series:
            if len(series):
                note(f"{len(series)} of {len(prompts)} pictures were drawn before")
            self._draw(model, guide, prompts, seeds, series)
        say(f"{len(prompts)} picture{'s' if len(prompts) > 1 else ''} by {model.name} in {self.out}")
        return 0

    def _draw(
        self,
        model: "LatentDiffusion",
        guide: "ModelGuidance | None",
        prompts: list[str],
        seeds: list[int],
        series: "PictureSeries",
    ) -> None:
        """Draws the batches of which a picture is still missing, each as in the whole: its size counts for its bits."""
        from intaglio.images.image_set import png_bytes
        from intaglio.runs.run import Run
        from intaglio.sampling.loop import sample_batches

        traces = list[Any]()
        cuts = [range(first, min(first + self.batch, len(prompts))) for first in range(0, len(prompts), self.batch)]
        left = [batch for batch in cuts if any(k not in series for k in batch)]
        if not left:
            return
        self._tell_cost(model, guide, [prompts[k] for batch in left for k in batch])
        drawn = sample_batches(
            model,
            [prompts[k] for batch in left for k in batch],
            [seeds[k] for batch in left for k in batch],
            sampler=self._sampler,
            steps=self.steps,
            guidance_scale=self._scale,
            negative=self.negative,
            **_way(self._method, guide),
            batch=self.batch,
            run=Run.none(progress=shown()),
            told=traces.append,
        )
        for batch, pixels in zip(left, drawn, strict=True):
            for k, picture in zip(batch, pixels, strict=True):
                if k not in series:
                    text = self._png_text(model, guide, prompts[k], seeds[k], rows=len(pixels))
                    series.save(k, png_bytes(picture, text))
        if traces and (line := self._method.reading_of(traces)):
            note(line)

    def _tell_cost(self, model: "LatentDiffusion", guide: "ModelGuidance | None", prompts: list[str]) -> None:
        """Says what the pictures will cost: calls of networks and time, and joules where there is a profile."""
        from intaglio.commands.kit.energy_lines import energy_line, sample_work
        from intaglio.sampling.loop import nodes_of
        from intaglio.sampling.plan import sampling_plan

        if guide is not None:
            return
        request = self._request(model, prompts, nodes_of(self._sampler, self.steps))
        self._method.check(request)
        note(str(sampling_plan(self._method, request, self.batch)))
        if self._method.name != "plain":
            return  # the estimate knows no other work
        guided = self._scale != 1
        told = energy_line(self.device, lambda: sample_work(model, len(prompts), self.steps, self.batch, guided=guided))
        if told is not None:
            note(told.line)

    def _request(self, model: "LatentDiffusion", prompts: list[str], nodes: int) -> Any:
        from intaglio.sampling.family import SamplingRequest

        return SamplingRequest(model, prompts, self.negative, self._scale, self.steps, nodes)

    def _key(self, prompts: list[str], model: "LatentDiffusion", guide: "ModelGuidance | None") -> str:
        """sha256 of all that the pictures' files depend on."""
        from intaglio.runs.plain_json import digest

        names = ("seed", "sampler", "steps", "guidance", "negative", "correction", "reference", "batch", "dtype")
        about = {name: getattr(self, name) for name in (*names, "metadata")}
        about |= {"sampler": self._sampler, "guidance": self._scale, "method": asdict(cast(Any, self.method))}
        about["method"]["name"] = self._method.name
        base = None if guide is None else guide.base.fingerprint
        return digest({**about, "prompts": prompts, "model": model.fingerprint, "base": base})

    def _prompts(self) -> list[str]:
        return list(self.prompt) if self.prompts is None else _read_prompts(self.prompts)

    def _model(self) -> "LatentDiffusion":
        model = self._read(self.model or embedded_model(), self.lora)
        for line in model.notes:
            note(line)
        return model

    def _guide(self, model: "LatentDiffusion") -> "ModelGuidance | None":
        """Model guidance, where a base was given."""
        from intaglio.denoising.model_pair import check_pair
        from intaglio.sampling.guides.model_guidance import ModelGuidance

        if self.base is None:
            return None
        base = self._read(self.base)
        check_pair(model, base)
        return ModelGuidance(base, self._scale, self.correction, self.reference)

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
        self, model: "LatentDiffusion", guide: "ModelGuidance | None", prompt: str, seed: int, rows: int
    ) -> dict[str, str]:
        """The PNG's text chunks; none without --metadata."""
        import diffusers
        import torch

        if not self.metadata:
            return {}
        versions = {"intaglio": intaglio.__version__, "torch": torch.__version__, "diffusers": diffusers.__version__}
        settings = PictureSettings(
            prompt=prompt,
            negative=self.negative,
            seed=seed,
            sampler=self._sampler,
            steps=self.steps,
            guidance=self._scale,
            size=(model.resolution, model.resolution),
            rows=rows,
            dtype=self.dtype,
            device=self.device,
            model=ModelRecord(model.name, model.fingerprint, place(self.model, self.out)),
            lora=place(self.lora, self.out),
            like=place(self.like, self.out),
            base=None if guide is None else ModelRecord(guide.base.name, guide.base.fingerprint, self._base_place),
            correction=self.correction,
            reference=self.reference,
            method=self._method.name,
            method_settings=stored_settings(self.method),
            versions=versions,
        )
        return settings.png_text()

    @property
    def _base_place(self) -> str | None:
        return place(self.base, self.out)

    # Replay

    def _replay(self, path: Path) -> int:
        from intaglio.images.image_set import ImageSet, save_png, to_uint8

        refuse_idle(self, OF_SAMPLING, f"--replay draws {path} by the settings it carries")
        recorded = PictureSettings.read(path)
        command = self._as_recorded(recorded)
        model = command._model()
        guide = command._guide(model)
        _refuse_another(path, recorded.model, model, "--model and --lora")
        if guide is not None and recorded.base is not None:
            _refuse_another(path, recorded.base, guide.base, "--base")
        before = ImageSet.load(path, model.resolution)
        for rows in sorted({1, recorded.rows}):
            drawn = _sample_again(recorded, model, command._method, guide, rows)
            differences = (to_uint8(drawn).int() - to_uint8(before.pixels[0]).int()).abs()
            if not differences.any():
                break
        target = free_path(self.out / f"{path.stem}-replay.png")
        save_png(drawn, target, command._png_text(model, guide, recorded.prompt, recorded.seed, rows))
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
                base=self.base or recorded.found(base.path if base else None, self.replay, "--base"),
            )
        except ValueError as error:
            raise BadInput(f"the settings in {self.replay} do not go together: {error}") from error


def _sample_again(
    recorded: PictureSettings,
    model: "LatentDiffusion",
    method: "SamplingMethod",
    guide: "ModelGuidance | None",
    rows: int,
) -> "Float[Tensor, '3 h w']":
    """The picture, sampled in a batch of `rows` copies: the last bits of a network depend on the batch's size."""
    from intaglio.sampling.loop import sample

    drawn = sample(
        model,
        [recorded.prompt] * rows,
        [recorded.seed] * rows,
        sampler=recorded.sampler,
        steps=recorded.steps,
        guidance_scale=recorded.guidance,
        negative=recorded.negative,
        **_way(method, guide),
        batch=rows,
    )
    return drawn.pixels[0]


def _way(method: "SamplingMethod", guide: "ModelGuidance | None") -> dict[str, Any]:
    """The method, or the guide where there is one, as keywords of the loop."""
    return {"method": method} if guide is None else {"guide": guide}


def _refuse_another(path: Path, drawn_by: ModelRecord, model: "LatentDiffusion", flags: str) -> None:
    # Earlier versions recorded the hash of the weights alone.
    if drawn_by.fingerprint not in (model.fingerprint, model.weights_fingerprint):
        raise BadInput(
            f"{path} was drawn by {drawn_by.name} ({drawn_by.fingerprint[:16]}), and {model.name} "
            f"({model.fingerprint[:16]}) is another model; give the first by {flags}"
        )


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = read_text(path).split("\n")
    except BadInput as error:
        raise BadInput(f"--prompts {error}") from None
    if not (found := [line.strip() for line in lines if line.strip()]):
        raise BadInput(f"--prompts {path} has no prompt in it; write one on each line")
    if too_long := [number for number, line in enumerate(lines, 1) if len(line) > LONGEST_PROMPT]:
        raise BadInput(
            f"--prompts {path} has {len(lines[too_long[0] - 1]):,} letters in line {too_long[0]}; shorten it"
        )
    return found


def _file_stem(prompt: str) -> str:
    """The first 40 letters and digits of a prompt, lower case, with dashes between words."""
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:40].strip("-") or "picture"
