"""Inputs that several verbs share, as dataclasses that a command derives from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from intaglio.commands.kit.console import command_line, note, shown
from intaglio.errors import UnfitAdapter

if TYPE_CHECKING:
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

TESTBED_NAME = "testbed"
"""Name of the embedded model among a run's inputs."""


@dataclass(frozen=True, kw_only=True)
class InRun:
    """A command whose work is kept in a run folder."""

    runs: Path = Path("runs")
    """Folder in which the run's own folder is made."""
    device: str = "cpu"
    """Device to compute on, such as cpu, cuda or cuda:1."""

    def open_run(
        self, verb: str, method: str, settings: Mapping[str, Any], inputs: Mapping[str, Any], *, seed: int | None
    ) -> "Run":
        """The run of these settings and inputs: a new one, or the unfinished or finished one of the same command."""
        from intaglio.runs.run import Run

        about = {"seed": seed, "device": self.device, "command": command_line(), "progress": shown()}
        return Run.open(self.runs, verb, method, settings, inputs, **about)


@dataclass(frozen=True, kw_only=True)
class ReadsPictures:
    """A command that reads folders of pictures."""

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    """Flags that are folders of pictures."""

    skip_bad: bool = False
    """Leave out pictures that cannot be read, with a warning, in place of stopping."""

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for pictures, listed by flag and not yet opened, that this command cannot use."""

    def load_pictures(self, path: Path, resolution: int, **further: Any) -> "ImageSet":
        """The pictures of a folder, or one file, at a resolution."""
        from intaglio.images.image_set import ImageSet

        return ImageSet.load(path, resolution, skip_bad=self.skip_bad, **further)


@dataclass(frozen=True, kw_only=True)
class ModelAndLoRA:
    """A command that reads one model, with a LoRA on top where one is given."""

    model: Path | None = None
    """A diffusers folder, a single .safetensors file, or an embedded model, emoji64, emoji64-flow or scenes64;
    none takes emoji64."""
    lora: Path | None = None
    """A LoRA file, or a folder with one, whose change is added to the model."""
    skip_unmatched: bool = False
    """Use the layers of the LoRA that fit, with a warning on the rest, in place of stopping."""
    like: Path | None = None
    """A diffusers folder that gives what the model lacks, such as the tokenizer of a single file."""

    def noted_model(self, device: str) -> "LatentDiffusion":
        """The model on a device, in float32; what there is to say of it is noted."""
        from intaglio.models.diffusion.loading import load_model

        with telling_of_default("--model", self.model):
            model = load_model(
                self.model or embedded_model(),
                lora=self.lora,
                like=self.like,
                allow_unmatched=self.skip_unmatched,
                device=device,
            )
        return noted(model)


@dataclass(frozen=True, kw_only=True)
class SuspectAndBase(InRun):
    """A command that compares a fine-tuned model with the one it came from."""

    suspect: Path
    """The fine-tuned model: a diffusers folder, a folder with its denoiser, a .safetensors file, or a LoRA."""
    base: Path | None = None
    """The model that the suspect was fine-tuned from: a diffusers folder or a single .safetensors file. Without it the
    suspect is compared with the embedded testbed, which few suspects come from."""
    like: Path | None = None
    """A diffusers folder that gives the base what it lacks, such as the tokenizer of a single file."""
    base_device: str | None = None
    """Device of the base, if another than that of the suspect."""
    skip_unmatched: bool = False
    """Where the suspect is a LoRA: use the layers that fit, with a warning on the rest, in place of stopping."""

    def load_models(self) -> "tuple[LatentDiffusion, LatentDiffusion]":
        """The suspect and its base; a LoRA acts beside the base's weights where both are on one device."""
        from intaglio.models.diffusion.loading import load_model, load_suspect

        base = load_model(self.base or embedded_model(), like=self.like, device=self.base_device or self.device)
        with telling_of_default("--base", self.base):
            suspect = load_suspect(self.suspect, base, allow_unmatched=self.skip_unmatched, device=self.device)
        return suspect, base

    def model_inputs(self, suspect: "LatentDiffusion", base: "LatentDiffusion") -> dict[str, dict[str, str]]:
        """The two models as inputs of a run: path and fingerprint."""
        return {"suspect": described(self.suspect, suspect.fingerprint), "base": described(self.base, base.fingerprint)}


@contextmanager
def telling_of_default(flag: str, given: Path | None) -> Iterator[None]:
    """Adds to the error on an adapter that does not fit that its model was not given, where it was not."""
    try:
        yield
    except UnfitAdapter as error:
        if given is not None:
            raise
        default = f"without {flag} the embedded {embedded_model().name} is taken"
        raise UnfitAdapter(f"{str(error).removesuffix('.')}; {default}: give its own base with {flag}") from None


def noted(model: "LatentDiffusion") -> "LatentDiffusion":
    """The model itself; what there is to say of it is noted."""
    for line in model.notes:
        note(line)
    return model


def described(path: object, sha256: str) -> dict[str, str]:
    """An input of a run; no path stands for the embedded model."""
    return {"path": str(path or TESTBED_NAME), "sha256": sha256}


def embedded_model() -> Path:
    """The folder of the embedded model."""
    from intaglio.models.testbed import base_path

    return base_path()


def short_number(value: float | None) -> str:
    """Three significant digits; a dash where there is no number."""
    return "-" if value is None or value != value else f"{value:.3g}"
