"""`intaglio sample`: sample pictures from prompts, or replay a picture from the settings in its PNG."""

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import intaglio
from intaglio.commands.kit.console import note, say, shown
from intaglio.commands.kit.inputs import embedded_model
from intaglio.commands.kit.png_settings import ModelRecord, PictureSettings
from intaglio.errors import BadInput
from intaglio.files import free_path
from intaglio.sampling.sampler_names import SamplerName

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.sampling.guides.model_guidance import ModelGuidance


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw pictures from prompts, or draw a picture again from the settings it carries."""

    model: Path | None = None
    """A diffusers folder or a single .safetensors file; none takes the embedded testbed."""
    lora: Path | None = None
    """A LoRA file whose change is added to the model."""
    like: Path | None = None
    """A diffusers folder that gives what the model lacks, such as the tokenizer of a single file."""
    prompt: tuple[str, ...] = ()
    """Prompts, one or more."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    count: int = 1
    """Pictures of each prompt, 1 or more."""
    seed: int = 0
    """Seed of the first picture, 0 to 2**62 - 1; the k-th after it has this number plus k."""
    sampler: SamplerName = "ddim"
    """Sampler; on this grid of timesteps euler equals ddim, and euler_a equals ddpm."""
    steps: int = 30
    """Sampling steps, 1 to 1000."""
    guidance: float = 5.0
    """Guidance scale: 1 is none, 3 to 10 is usual."""
    negative: str = ""
    """Negative prompt of the guidance."""
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
    """Write prompt, settings and the model's path and fingerprint into the PNG."""
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
        if not 0 <= self.guidance < float("inf"):
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
        if self.guidance < 1:
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

    # Sampling

    def _sample(self) -> int:
        from intaglio.images.image_set import save_png
        from intaglio.runs.run import Run
        from intaglio.sampling.loop import sample_batches

        prompts = [prompt for prompt in self._prompts() for _ in range(self.count)]
        seeds = [self.seed + k for k in range(len(prompts))]
        model = self._model()
        guide = self._guide(model)
        batches = sample_batches(
            model,
            prompts,
            seeds,
            sampler=self.sampler,
            steps=self.steps,
            guidance_scale=self.guidance,
            negative=self.negative,
            guide=guide,
            batch=self.batch,
            run=Run.none(progress=shown()),
        )
        pending = iter(zip(prompts, seeds, strict=True))
        for pixels in batches:
            for picture in pixels:
                prompt, seed = next(pending)
                text = self._png_text(model, guide, prompt, seed, rows=len(pixels))
                save_png(picture, free_path(self.out / f"{_file_stem(prompt)}-{seed}.png"), text)
        say(f"{len(prompts)} picture{'s' if len(prompts) > 1 else ''} by {model.name} in {self.out}")
        return 0

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
        return ModelGuidance(base, self.guidance, self.correction, self.reference)

    def _read(self, path: Path, lora: Path | None = None) -> "LatentDiffusion":
        import torch

        from intaglio.models.diffusion.loading import load_model

        return load_model(path, lora=lora, like=self.like, device=self.device, dtype=getattr(torch, self.dtype))

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
            sampler=self.sampler,
            steps=self.steps,
            guidance=self.guidance,
            size=(model.resolution, model.resolution),
            rows=rows,
            dtype=self.dtype,
            device=self.device,
            model=_record(model, self.model),
            lora=_absolute(self.lora),
            like=_absolute(self.like),
            base=None if guide is None else _record(guide.base, self.base),
            correction=self.correction,
            reference=self.reference,
            versions=versions,
        )
        return settings.png_text()

    # Replay

    def _replay(self, path: Path) -> int:
        from intaglio.images.image_set import ImageSet, save_png, to_uint8

        recorded = PictureSettings.read(path)
        command = self._as_recorded(recorded)
        model = command._model()
        guide = command._guide(model)
        _refuse_another(path, recorded.model, model, "--model and --lora")
        if guide is not None and recorded.base is not None:
            _refuse_another(path, recorded.base, guide.base, "--base")
        before = ImageSet.load(path, model.resolution)
        for rows in sorted({1, recorded.rows}):
            drawn = _sample_again(recorded, model, guide, rows)
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
        return replace(
            self,
            **{name: getattr(recorded, name) for name in names},
            model=self.model or _path(recorded.model.path),
            lora=self.lora or _path(recorded.lora),
            like=self.like or _path(recorded.like),
            base=self.base or _path(base.path if base else None),
        )


def _sample_again(
    recorded: PictureSettings, model: "LatentDiffusion", guide: "ModelGuidance | None", rows: int
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
        guide=guide,
        batch=rows,
    )
    return drawn.pixels[0]


def _refuse_another(path: Path, drawn_by: ModelRecord, model: "LatentDiffusion", flags: str) -> None:
    # Earlier versions recorded the hash of the weights alone.
    if drawn_by.fingerprint not in (model.fingerprint, model.weights_fingerprint):
        raise BadInput(
            f"{path} was drawn by {drawn_by.name} ({drawn_by.fingerprint[:16]}), and {model.name} "
            f"({model.fingerprint[:16]}) is another model; give the first by {flags}"
        )


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"--prompts {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"--prompts {path} is no UTF-8 text; save it as such") from None
    if not (found := [line.strip() for line in lines if line.strip()]):
        raise BadInput(f"--prompts {path} has no prompt in it; write one on each line")
    return found


def _record(model: "LatentDiffusion", path: Path | None) -> ModelRecord:
    return ModelRecord(model.name, model.fingerprint, _absolute(path))


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _file_stem(prompt: str) -> str:
    """The first 40 letters and digits of a prompt, lower case, with dashes between words."""
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:40].strip("-") or "picture"
