"""`intaglio flow convert`: a published TarFlow checkpoint as a folder of this project."""

from dataclasses import dataclass
from pathlib import Path

from intaglio.commands.kit.console import note, say


@dataclass(frozen=True, kw_only=True)
class FlowConvert:
    """Rewrite a TarFlow checkpoint with the authors' names as a folder of this project. Pickled files are never read:
    save their tensors as .safetensors first, on a machine you can afford to lose.
    """

    checkpoint: Path
    """The .safetensors file with the names of the authors' code."""
    out: Path
    """The folder to write."""
    size: tuple[int, int]
    """Height and width of the pictures."""
    noise: float
    """Deviation of the noise that it was trained with, pictures being in [-1, 1]; 0 for a likelihood model."""
    head_dim: int = 64
    """Width of an attention head."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in their order."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.errors import BadInput
        from intaglio.models.flow.tarflow_files import from_published, save_flow

        model = from_published(self.checkpoint, noise_std=self.noise, image_size=self.size, head_dim=self.head_dim)
        if self.labels and len(self.labels) != model.config.num_classes:
            raise BadInput(f"{len(self.labels)} labels for {model.config.num_classes} classes; give one for each")
        save_flow(model, self.out, labels=self.labels)
        config = model.config
        note(
            f"{config.num_blocks} blocks of {'-'.join(map(str, config.layers_per_block))} layers, width "
            f"{config.hidden_size}, {config.tokens} patches, {config.num_classes} classes"
        )
        say(str(self.out))
        return 0
