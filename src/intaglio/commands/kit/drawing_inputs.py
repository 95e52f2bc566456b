"""All that `intaglio sample` draws with: its flags, what they are read to, and what a picture keeps of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast

import tyro

import intaglio
from intaglio.commands.kit.cluster_inputs import OnCluster
from intaglio.commands.kit.console import note
from intaglio.commands.kit.inputs import ModelAndLoRA, embedded_model, telling_of_default
from intaglio.commands.kit.model_guidance_inputs import ModelGuidanceInputs
from intaglio.commands.kit.png_settings import ModelRecord, PictureSettings, SearchRecord, place
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.commands.kit.recorded_method import hashed_settings, stored_settings
from intaglio.commands.kit.search_inputs import SearchInputs
from intaglio.commands.kit.start_inputs import StartInputs, start_record
from intaglio.errors import BadInput
from intaglio.sampling.sampler_names import SamplerName

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.sampling.family import SamplingMethod, SamplingRequest
    from intaglio.sampling.fixed_sampling import Settled
    from intaglio.sampling.guides.model_guidance import ModelGuidance
    from intaglio.sampling.search.best_noise import BestNoise
    from intaglio.sampling.start import NoiseStart

M = TypeVar("M")


@dataclass(frozen=True)
class DrawingTools:
    """All that a command draws with, as it was read."""

    model: "LatentDiffusion"
    settled: "Settled"
    guide: "ModelGuidance | None"
    start: "NoiseStart"
    best: "BestNoise | None"
    """The search of the noise, where there is one."""


@dataclass(frozen=True, kw_only=True)
class DrawingInputs(OnCluster, ModelAndLoRA, ModelGuidanceInputs, SearchInputs, StartInputs, Generic[M]):
    """A command that draws pictures from prompts by a method."""

    folder_flag: ClassVar[str] = "out"
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

    def __post_init__(self) -> None:
        super().__post_init__()
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

    @property
    def _method(self) -> "SamplingMethod":
        return cast("SamplingMethod", self.method)

    def check_method(self) -> None:
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

    def tools(self, prompts: Sequence[str] = ()) -> DrawingTools:
        """What to draw these prompts with."""
        model = self._model()
        settled = self.settled(model)
        start = self.start_of(model, self.model is None and self.lora is None, self.out)
        return DrawingTools(model, settled, self._guide(model, settled.scale), start, self.best_noise(model, prompts))

    def settled(self, model: "LatentDiffusion") -> "Settled":
        """Steps, sampler and guidance scale. Raises `BadInput` for those that a distilled model was not made for."""
        from intaglio.sampling.fixed_sampling import refuse_contradiction, settled

        found = settled(model, self.steps, self.sampler, self.guidance)
        plain, by = self.base is None and self._method.takes_distilled, self._method.name
        refuse_contradiction(model, found, first=self.from_step, negative=self.negative, plain=plain, by=by)
        return found

    def request(self, tools: DrawingTools, prompts: list[str]) -> "SamplingRequest":
        """The pictures of these prompts, as a method is asked for them."""
        from intaglio.sampling.family import SamplingRequest
        from intaglio.sampling.loop import nodes_of

        (steps, sampler, scale), start = tools.settled, tools.start
        about = {"first": start.first, "sampler": sampler, "start": start.hash}
        return SamplingRequest(tools.model, prompts, self.negative, scale, steps, nodes_of(sampler, steps), **about)

    def series_key(self, prompts: list[str], tools: DrawingTools) -> str:
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

    def prompt_texts(self) -> list[str]:
        """The prompts, one or more, each of which `count` pictures are drawn of."""
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

    def png_text(
        self, tools: DrawingTools, prompt: str, seed: int, rows: int, search: SearchRecord | None = None
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
