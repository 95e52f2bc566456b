"""`intaglio sample`: prompts in, pictures out that carry all that it takes to draw them again."""

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import intaglio
from intaglio.commands.kit.console import note, say, shown
from intaglio.errors import BadInput
from intaglio.sampling.names import SamplerName

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.sampling.guides.model_guidance import ModelGuidance

CHUNK = "intaglio"
FORMAT = 1
WEBUI_NAMES = {
    "ddim": "DDIM",
    "euler": "Euler",
    "heun": "Heun",
    "dpm++2m": "DPM++ 2M",
    "ddpm": "DDPM",
    "euler_a": "Euler a",
}
"""What the usual web interfaces call the samplers."""
DTYPES = ("float32", "float16", "bfloat16")


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
    """What to draw; more than one may be given."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    count: int = 1
    """Pictures of each prompt."""
    seed: int = 0
    """Of the first picture; the k-th after it has this number plus k."""
    sampler: SamplerName = "ddim"
    """How the noise is taken out; on this grid of timesteps euler equals ddim, and euler_a equals ddpm."""
    steps: int = 30
    """Timesteps taken, 1 to 1000."""
    guidance: float = 5.0
    """Guidance scale: 1 is none, 3 to 10 is usual."""
    negative: str = ""
    """What guidance leads away from."""
    base: Path | None = None
    """What --model was fine-tuned from: guidance then leads away from this model in place of --negative, towards what
    the fine-tune learned (arXiv 2410.03039)."""
    correction: float = 0.0
    """With --base: added to its factor, between -1 and 1 and near 0; each step takes out that much more noise."""
    reference: Literal["empty", "prompt"] = "empty"
    """With --base: what the base hears, nothing or the prompt."""
    batch: int = 8
    """Pictures drawn at once."""
    out: Path = Path("pictures")
    """Folder for the pictures; nothing in it is overwritten."""
    replay: Path | None = None
    """A PNG that this command drew: draw it again, and tell whether all pixels are the same."""
    metadata: bool = True
    """Write prompt, settings and the model's path and fingerprint into the PNG."""
    device: str = "cpu"
    """Where to compute, such as cpu, cuda or cuda:1."""
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
        if self.base is None and (self.correction or self.reference != "empty"):
            raise ValueError("--correction and --reference belong to --base; give the model that was fine-tuned")
        if self.base is not None and self.negative:
            raise ValueError("--base takes the place of --negative; give one of them")
        if self.base is not None and not (self.model or self.lora or self.replay):
            raise ValueError("--base needs --model or --lora, the fine-tune that it leads away to")
        if self.base is not None and self.guidance < 1:
            raise ValueError(f"--guidance must be 1 or more beside --base, not {self.guidance}")
        if not -1 < self.correction < 1:
            raise ValueError(f"--correction must lie between -1 and 1, near 0, not {self.correction}")
        if self.correction and self.reference != "empty":
            raise ValueError("--correction belongs to --reference empty; leave one of them out")
        if not 0 <= self.seed < 2**62:
            raise ValueError(f"--seed must be 0 to 2**62 - 1, not {self.seed}")

    def __call__(self) -> int:
        """Run the command; returns the exit code: 1 for a replay that differs."""
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest: note(str(message))
            return self._draw() if self.replay is None else self._draw_again(self.replay)

    # Drawing

    def _draw(self) -> int:
        from intaglio.images.image_set import save_png
        from intaglio.runs.run import Run
        from intaglio.sampling.loop import sample_batches

        prompts = [prompt for prompt in self._prompts() for _ in range(self.count)]
        seeds = [self.seed + k for k in range(len(prompts))]
        model = self._loaded()
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
        written = 0
        for pixels in batches:
            for picture in pixels:
                prompt, seed = prompts[written], seeds[written]
                text = self._text(model, guide, prompt, seed, rows=len(pixels)) if self.metadata else {}
                save_png(picture, _free(self.out / f"{_slug(prompt)}-{seed}.png"), text)
                written += 1
        say(f"{written} picture{'s' if written > 1 else ''} by {model.name} in {self.out}")
        return 0

    def _prompts(self) -> list[str]:
        if self.prompts is None:
            return list(self.prompt)
        try:
            lines = self.prompts.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise BadInput(f"--prompts {self.prompts} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise BadInput(f"--prompts {self.prompts} is no UTF-8 text; save it as such") from None
        if not (found := [line.strip() for line in lines if line.strip()]):
            raise BadInput(f"--prompts {self.prompts} has no prompt in it; write one on each line")
        return found

    def _loaded(self) -> "LatentDiffusion":
        import torch

        from intaglio.models.diffusion.loading import load_model
        from intaglio.models.testbed import base_path

        model = load_model(
            self.model or base_path(),
            lora=self.lora,
            like=self.like,
            device=self.device,
            dtype=getattr(torch, self.dtype),
        )
        for line in model.notes:
            note(line)
        return model

    def _guide(self, model: "LatentDiffusion") -> "ModelGuidance | None":
        """Model guidance, where a base was given."""
        import torch

        from intaglio.denoising.model_pair import check_pair
        from intaglio.models.diffusion.loading import load_model
        from intaglio.sampling.guides.model_guidance import ModelGuidance

        if self.base is None:
            return None
        base = load_model(self.base, like=self.like, device=self.device, dtype=getattr(torch, self.dtype))
        check_pair(model, base)
        return ModelGuidance(base, self.guidance, self.correction, self.reference)

    def _text(
        self, model: "LatentDiffusion", guide: "ModelGuidance | None", prompt: str, seed: int, rows: int
    ) -> dict[str, str]:
        """The PNG's two text chunks: one for the usual web interfaces, one with everything."""
        import diffusers
        import torch

        everything = {
            "format": FORMAT,
            "prompt": prompt,
            "negative": self.negative,
            "seed": seed,
            "sampler": self.sampler,
            "steps": self.steps,
            "guidance": self.guidance,
            "size": [model.resolution, model.resolution],
            "rows": rows,
            "dtype": self.dtype,
            "device": self.device,
            "model": {"name": model.name, "fingerprint": model.fingerprint, "path": _absolute(self.model)},
            "lora": _absolute(self.lora),
            "like": _absolute(self.like),
            "base": None
            if guide is None
            else {"name": guide.base.name, "fingerprint": guide.base.fingerprint, "path": _absolute(self.base)},
            "correction": self.correction,
            "reference": self.reference,
            "versions": {
                "intaglio": intaglio.__version__,
                "torch": torch.__version__,
                "diffusers": diffusers.__version__,
            },
        }
        return {"parameters": webui_parameters(everything), CHUNK: json.dumps(everything, sort_keys=True)}

    # Drawing again

    def _draw_again(self, path: Path) -> int:
        from intaglio.images.image_set import ImageSet, save_png, to_uint8

        known = read_settings(path)
        command = self._as_recorded(known)
        model = command._loaded()
        guide = command._guide(model)
        _refuse_another(path, known["model"], model, "--model and --lora")
        if guide is not None:
            _refuse_another(path, known["base"], guide.base, "--base")
        before = ImageSet.load(path, model.resolution)
        for rows in sorted({1, int(known["rows"])}):
            drawn = command._one(model, guide, known, rows)
            apart = (to_uint8(drawn).int() - to_uint8(before.pixels[0]).int()).abs()
            if not apart.any():
                break
        text = {} if not self.metadata else command._text(model, guide, known["prompt"], known["seed"], rows)
        target = _free(self.out / f"{path.stem}-replay.png")
        save_png(drawn, target, text)
        if apart.any():
            count, largest = int(apart.count_nonzero()), int(apart.max())
            say(f"{path}: {count} of {apart.numel()} values differ, by at most {largest} of 255; see {target}")
            note(f"it was drawn on {known['device']} with {known['versions']}")
            return 1
        say(f"{path}: all {apart.numel()} values are the same; see {target}")
        return 0

    def _one(self, model: "LatentDiffusion", guide: "ModelGuidance | None", known: dict[str, Any], rows: int) -> Any:
        """The picture, drawn in a batch of as many: the last bits of a network depend on the batch's size."""
        from intaglio.sampling.loop import sample

        drawn = sample(
            model,
            [known["prompt"]] * rows,
            [known["seed"]] * rows,
            sampler=known["sampler"],
            steps=known["steps"],
            guidance_scale=known["guidance"],
            negative=known["negative"],
            guide=guide,
            batch=rows,
        )
        return drawn.pixels[0]

    def _as_recorded(self, known: dict[str, Any]) -> "Sample":
        """This command with the picture's settings; paths given now stand for the recorded ones."""
        recorded = {key: known[key] for key in ("negative", "sampler", "steps", "guidance", "dtype")}
        model, lora = self.model or _path(known["model"]["path"]), self.lora or _path(known["lora"])
        # Pictures of before model guidance know nothing of a base.
        if (base := known.get("base")) is not None:
            recorded |= {key: known[key] for key in ("correction", "reference")}
        elif self.base is not None:
            raise BadInput(f"{self.replay} was drawn without a base; leave --base out")
        return replace(
            self,
            **recorded,
            model=model,
            lora=lora,
            like=self.like or _path(known["like"]),
            base=self.base or _path(base["path"] if base else None),
        )


def _refuse_another(path: Path, drawn_by: dict[str, Any], model: "LatentDiffusion", flags: str) -> None:
    if model.fingerprint != drawn_by["fingerprint"]:
        raise BadInput(
            f"{path} was drawn by {drawn_by['name']} ({drawn_by['fingerprint'][:16]}), and {model.name} "
            f"({model.fingerprint[:16]}) is another model; give the first by {flags}"
        )


def read_settings(path: Path) -> dict[str, Any]:
    """What `intaglio sample` wrote into a PNG. Raises `BadInput` for any other picture."""
    from intaglio.images.image_set import read_png_text

    if not path.is_file():
        raise BadInput(f"--replay {path} is no file; give a PNG that `intaglio sample` drew")
    chunk = read_png_text(path).get(CHUNK)
    if chunk is None:
        raise BadInput(f"{path} carries no settings of intaglio; give a PNG that it drew, without --no-metadata")
    try:
        known = json.loads(chunk)
        usable = known["format"] == FORMAT and _complete(known)
    except (ValueError, TypeError, KeyError):
        usable, known = False, {}
    if not usable:
        raise BadInput(f"the settings in {path} are damaged or of another version; use the version that drew it")
    return known


def _complete(known: dict[str, Any]) -> bool:
    kinds = {
        "prompt": str,
        "negative": str,
        "seed": int,
        "sampler": str,
        "steps": int,
        "guidance": int | float,
        "rows": int,
        "dtype": str,
        "device": str,
        "model": dict,
        "lora": str | None,
        "like": str | None,
        "versions": dict,
    }
    model = {"name": str, "fingerprint": str, "path": str | None}
    right = all(isinstance(known[key], kind) for key, kind in kinds.items())
    for drawer in (known["model"], *([known["base"]] if known.get("base") else [])):
        right = right and all(isinstance(drawer[key], kind) for key, kind in model.items())
    if known.get("base"):
        right = right and isinstance(known["correction"], int | float) and known["reference"] in ("empty", "prompt")
    return right and known["sampler"] in WEBUI_NAMES and known["dtype"] in DTYPES and known["rows"] >= 1


def webui_parameters(known: dict[str, Any]) -> str:
    """The settings as the text that the usual web interfaces write and read under `parameters`."""
    lines = [known["prompt"]]
    if known["negative"]:
        lines.append(f"Negative prompt: {known['negative']}")
    width, height = known["size"]
    pairs = {
        "Steps": known["steps"],
        "Sampler": WEBUI_NAMES[known["sampler"]],
        "CFG scale": f"{known['guidance']:g}",
        "Seed": known["seed"],
        "Size": f"{width}x{height}",
        "Model hash": known["model"]["fingerprint"][:10],
        "Model": known["model"]["name"].replace(",", " "),
        "Version": f"intaglio {known['versions']['intaglio']}",
    }
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in pairs.items())])


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _slug(prompt: str) -> str:
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:40].strip("-") or "picture"


def _free(path: Path) -> Path:
    """The path itself, or with -2, -3 and so on before its suffix, whichever is not taken yet."""
    return next(place for place in _numbered(path) if not place.exists())


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_stem(f"{path.stem}-{number}")
        number += 1
