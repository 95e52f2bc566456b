"""`intaglio explain weights METHOD`: what sets a network's kernels apart from random ones, or from another's."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from torch import nn

    from intaglio.explain.weights.family import KernelReader
    from intaglio.explain.weights.kernel_layers import KernelLayer
    from intaglio.explain.weights.result import KernelReadings
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_SHOWN = 6
"""Layers whose kernels are stored as pictures, at most."""


@dataclass(frozen=True, kw_only=True)
class ExplainWeights(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Describe the kernels of each convolution by a few figures, beside random kernels of the same shape.

    The network is a part of a model, or a classifier. With --against, or with a LoRA, each layer is compared with that
    of another network of the same build. No picture is needed. The same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    part: str = "denoiser"
    """Part of the model: denoiser, autoencoder or text_encoder, for example."""
    network: Path | None = None
    """A classifier in place of a model: a .safetensors file that Intaglio wrote, or a folder of transformers with an
    image classifier."""
    against: Path | None = None
    """Another model, or classifier, of the same build, to measure the shift of each layer from; none takes the model
    itself without its LoRA, where one is given, and else measures no shift."""

    def check_early(self) -> None:
        """Raises `BadInput` for inputs that exclude each other, and for files that are not there."""
        if self.network is not None and (self.model is not None or self.lora is not None or self.part != "denoiser"):
            raise BadInput("--network is looked at in place of a model; leave out --model, --lora and --part")
        for flag, path in (("--network", self.network), ("--against", self.against)):
            if self.network is not None and path is not None and not path.exists():
                raise BadInput(f"{path} does not exist; check the path of {flag}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.weights.cost import weights_plan
        from intaglio.explain.weights.kernel_layers import layers_hash
        from intaglio.explain.weights.result import KernelReadings

        layers, others, notes = self._layers()
        plan = weights_plan(self._method, layers, shifted=others is not None)
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"network": described(self.network or self.model or "emoji64", layers_hash(layers))}
        if others is not None:
            known["against"] = described(self.against or "without the LoRA", layers_hash(others))
        settings = {**asdict(cast(Any, self.method)), "part": self.part}
        with self.open_run("explain", f"weights-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for note in notes:
                    run.warn(note)
                found = self._method(layers, others, run=run)
                _save_pictures(found, layers, run)
                found.save(folder)
                run.finish(found.figures(), (KernelReadings.file, KernelReadings.table, "images"))
        _report(cast("KernelReadings", KernelReadings.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "KernelReader":
        return cast("KernelReader", self.method)

    def _layers(self) -> "tuple[tuple[KernelLayer, ...], tuple[KernelLayer, ...] | None, tuple[str, ...]]":
        """Layers of the network and of that to compare it with, and what there is to say of them."""
        from intaglio.explain.weights.kernel_layers import kernel_layers, paired
        from intaglio.models.image_classification import load_scored

        if self.network is not None:
            layers = kernel_layers(load_scored(self.network, device="cpu").network)
            if self.against is None:
                return layers, None, ()
            return layers, paired(layers, kernel_layers(load_scored(self.against, device="cpu").network)), ()
        model = self.noted_model("cpu")
        layers, notes = kernel_layers(self._part(model.parts)), tuple(model.notes)
        if self.against is None and self.lora is None:
            return layers, None, notes
        other = self._other()
        return layers, paired(layers, kernel_layers(self._part(other.parts))), notes

    def _other(self) -> Any:
        from intaglio.commands.kit.inputs import embedded_model
        from intaglio.models.diffusion.loading import load_model

        return load_model(self.against or self.model or embedded_model(), like=self.like, device="cpu")

    def _part(self, parts: "dict[str, nn.Module]") -> "nn.Module":
        """The chosen part. Raises `BadInput` for a name that there is not."""
        if self.part not in parts:
            raise BadInput(f"the model has no part {self.part!r}; it has {', '.join(parts)}")
        return parts[self.part]


def _save_pictures(found: "KernelReadings", layers: "tuple[KernelLayer, ...]", run: "Run") -> None:
    """Store kernels of the layers that the page shows."""
    from intaglio.explain.weights.kernel_sheet import kernel_sheet

    kernels = {one.name: one.kernels for one in layers}
    for name in found.shown(MOST_SHOWN):
        run.save_image(name, kernel_sheet(kernels[name]))


def _report(found: "KernelReadings", folder: Path) -> None:
    """Print a line a layer, and write the report."""
    from intaglio.report import write_report

    heads = ["layer", "kernels", "size", *found.measured, "chance", "verdict", *(["shift"] if found.shifted else [])]
    rows = [
        tuple(f"{row[name]:.3f}" if isinstance(row[name], float) else str(row[name]) for name in heads)
        for row in found.rows()
    ]
    say(aligned([tuple(name.replace("_", " ") for name in heads), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
