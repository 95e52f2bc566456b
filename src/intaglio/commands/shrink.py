"""`intaglio shrink NAME`: a model in fewer bytes, which every other verb takes as its model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast

import tyro

from intaglio.amounts import size_words
from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described, noted
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.time_plan import TimePlan
    from intaglio.shrink.family import Shrinker
    from intaglio.shrink.shrink_run import ShrinkRequest

M = TypeVar("M")
MOST = 10**5
"""Most calibration rows, and pictures."""


@dataclass(frozen=True, kw_only=True)
class Shrink(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Make a model smaller, and tell what it costs in quality.

    The model is stored in as few bits as are told, and loaded as any other: give its folder to --model, --base or
    --suspect of any verb. It is smaller, not faster, unless a method changes modules: weights are unpacked when they
    are loaded. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("calibration",)
    method: tyro.conf.OmitArgPrefixes[M]
    base: Path | None = None
    """The model that --model was fine-tuned from, for a method that stores the change alone: a diffusers folder, a
    single .safetensors file, or an embedded model. Whoever loads the result gives this base too."""
    calibration: Path | None = None
    """Folder of eight pictures or more that the method learns from, captions in .txt files beside them; none takes
    states of the model's own drawing."""
    prompt: tuple[str, ...] = ()
    """Prompts of that drawing, and of the pictures that are shown; the embedded model has captions for where none is
    given."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    rows: int = 128
    """Calibration rows, noised latents at a timestep under a prompt: 32 or more, of which an eighth is held back to
    judge by; 0 for none, where the method needs none."""
    samples: int = 4
    """Pictures of equal seeds that are drawn before and after, 0 or more."""
    layout: Literal["intaglio", "diffusers", "gguf"] = "intaglio"
    """intaglio: packed, as small as it is told; diffusers: dense in half precision, for other tools, no smaller; gguf:
    that and `unet.gguf` beside, with linear layers in codes of 4, 5 or 8 bits in groups of 32, all else at 16 bits."""

    def __post_init__(self):
        if self.prompt and self.prompts is not None:
            raise ValueError("give one of --prompt and --prompts, not both")
        for name in ("rows", "samples"):
            if not 0 <= getattr(self, name) <= MOST:
                raise ValueError(f"--{name} must be 0 to {MOST}, not {getattr(self, name)}")
        if self.calibration is None and 0 < self.rows < 32:
            raise ValueError(f"--rows must be 32 or more, or 0 for none, not {self.rows}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.models.diffusion.loading import check_there, load_model
        from intaglio.report import write_report
        from intaglio.shrink.shrink_run import check_layout, shrink

        shrinker = self._shrinker
        check_layout(shrinker, self.layout)
        if shrinker.calibrated and not self.rows:
            raise BadInput(f"{shrinker.name} learns from calibration rows; give --rows, 32 or more")
        if self.model is not None:
            check_there(self.model)
        texts = self._texts()
        model = self.noted_model(self.device)
        base = None if self.base is None else noted(load_model(self.base, like=self.like, device=self.device))
        shrinker.check(model, base)
        request = self._request(model, base, texts)
        hashes = {"model": model.fingerprint, **request.hashes}
        paths: dict[str, object] = {"model": self.model, "base": self.base, "calibration": self.calibration}
        paths["prompts"] = self.prompts or "prompts"
        inputs = {name: described(paths[name], sha256) for name, sha256 in hashes.items()}
        settings = {**shrinker.settings, **request.settings}
        if self.dry_run and self.ends_with(self._plan(model)):
            return 0
        with self.open_run("shrink", shrinker.name, settings, inputs, seed=shrinker.seed) as run:
            if run.status != "done":
                self.begin(run, self._plan(model))
                shrink(shrinker, model, request, run)
            for line in _lines(run.summary):
                note(line)
            if run.folder is not None:
                say(str(run.folder / run.summary["model"]))
                say(str(write_report(run.folder)))
        return 0

    @property
    def _shrinker(self) -> "Shrinker":
        return cast("Shrinker", self.method)

    def _texts(self) -> tuple[str, ...]:
        """The prompts; those of the embedded model's captions where none are given."""
        if given := list(self.prompt) if self.prompts is None else read_prompts(self.prompts):
            return tuple(given)
        if self.model is None and self.lora is None:
            from intaglio.models.testbed import real_pictures

            captions = [str(caption) for caption in real_pictures().captions]
            return tuple(captions[:: len(captions) // 16])
        if self.samples or (self.rows and self.calibration is None):
            raise BadInput("give --prompt or --prompts, which the model is to draw; or --samples 0 and --rows 0")
        return ()

    def _request(
        self, model: "LatentDiffusion", base: "LatentDiffusion | None", texts: tuple[str, ...]
    ) -> "ShrinkRequest":
        from intaglio.shrink.shrink_run import ShrinkRequest

        images = None if self.calibration is None else self.load_pictures(self.calibration, model.resolution)
        return ShrinkRequest(texts, self.rows, self.samples, self.layout, images, base)

    def _plan(self, model: "LatentDiffusion") -> "TimePlan":
        from intaglio.runs.time_plan import TimePlan
        from intaglio.sampling.calls import Calls
        from intaglio.sampling.plan import picture_calls, planned_seconds

        plan = self._shrinker.planned(model, self.rows)
        drawn = picture_calls(model).times(2 * self.samples)
        walked = 0 if self.calibration is not None else self.rows
        parts = {
            "calibration rows": planned_seconds(Calls(forward=walked), model, 4),
            "shrinking": self._shrinker.seconds(model, self.rows),
            "judging": planned_seconds(Calls(forward=self.rows // 2), model, 4),
            "pictures": planned_seconds(drawn, model, max(1, self.samples)),
        }
        head = f"size       {size_words(plan.before)} at 16 bits a weight, {size_words(plan.after)} after"
        return TimePlan(parts, head)


def _lines(summary: dict[str, Any]) -> list[str]:
    """Size and price of the smaller model, in a few lines."""
    whole, before = summary["bytes"], summary["bytes_at_16_bits"]
    lines = [f"size     {size_words(whole)}, {whole / before:.0%} of {size_words(before)}; {summary['bits']:.2f} bits"]
    if summary.get("layout", "intaglio") != "intaglio":
        lines.append(f"file     {size_words(summary['file_bytes'])} as {summary['layout']}, for other software")
    if (error := summary.get("error")) is not None:
        lines.append(
            f"error    {error['whole']:.3g} of the prediction ({error['low']:.3g} to {error['high']:.3g} with 95%)"
        )
    if (ruler := summary.get("ruler")) is not None:
        lines.append(f"ruler    {ruler['error']:.3g} by plain rounding to {ruler['bits']} bits, in no more bytes")
    if (left := summary.get("multiplications")) is not None:
        lines.append(f"work     {left['share']:.0%} of the multiplications for one picture")
    if (calls := summary.get("call_ms")) is not None:
        lines.append(
            f"call     {calls['after']:.3g} ms a prediction in place of {calls['before']:.3g}, on this machine"
        )
    if (alike := summary["pictures"]) is not None and alike["psnr"] is not None:
        lines.append(f"pictures {alike['psnr']:.1f} dB, SSIM {alike['ssim']:.3f}, beside those of equal seeds before")
    return lines
