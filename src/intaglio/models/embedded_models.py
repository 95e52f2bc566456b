"""Text-to-image models inside the package, by name."""

from dataclasses import dataclass
from pathlib import Path

from intaglio.files import PACKAGE

FOLDER = PACKAGE / "testbed"
"""Folder of folders; those with an index hold a text-to-image model."""
LENDER = "emoji64"
"""The model that has every component; the others may leave out what they share with it."""


@dataclass(frozen=True)
class EmbeddedModel:
    """A text-to-image model in the package, in diffusers' layout.

    A component that its folder lacks (the autoencoder, text encoder and tokenizer of a model that was trained between
    frozen ones) is that of `LENDER`, so that the package holds it once.
    """

    name: str
    """Name of its folder, such as `emoji64`; what `--model` is given."""

    @classmethod
    def known(cls) -> tuple["EmbeddedModel", ...]:
        """All that the package holds, by name."""
        return tuple(map(cls, sorted(path.parent.name for path in FOLDER.glob("*/model_index.json"))))

    @classmethod
    def named(cls, path: Path | str) -> "EmbeddedModel | None":
        """The model of that name; None for any other path, and for a file or folder that is there under this name."""
        one = cls(str(path))
        return one if one in cls.known() and not Path(path).exists() else None

    @classmethod
    def at(cls, folder: Path | None) -> "EmbeddedModel | None":
        """The model whose components lie in this folder of the package; None for any other place."""
        return next((one for one in cls.known() if one.folder == folder), None)

    @property
    def folder(self) -> Path:
        """Folder of its own components."""
        return FOLDER / self.name

    @property
    def lender(self) -> Path | None:
        """Folder of the model that gives what is lacking; None for one with an autoencoder of its own."""
        return None if (self.folder / "vae").is_dir() else FOLDER / LENDER
