"""`--out` of commands that give pictures back: copies of those that lie in the run's own folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from intaglio.errors import BadInput
from intaglio.files import atomic_write, check_writable


@dataclass(frozen=True, kw_only=True)
class GivesBack:
    """A command whose pictures lie in the run's own folder, and may be copied to another."""

    folder_flag: ClassVar[str] = "out"

    out: Path | None = None
    """Folder outside of --images that is given copies of the pictures, which lie in the run's own folder."""

    def check_out(self, images: Path | None) -> None:
        """Raises `BadInput` for a folder that lies among the pictures, or that is not to be written."""
        if self.out is None:
            return
        if images is not None:
            inside, home = self.out.resolve(), images.resolve()
            home = home if home.is_dir() else home.parent
            if inside == home or (images.is_dir() and home in inside.parents):
                raise BadInput(
                    f"--out {self.out} lies in --images, whose pictures stay as they are; name another folder"
                )
        check_writable(self.out)

    def copied(self, home: Path, names: Iterable[str]) -> Path:
        """The folder that the pictures are given back in: `home`, or --out, which is given copies of them."""
        if self.out is None:
            return home
        for name in names:
            atomic_write(self.out / name, (home / name).read_bytes())
        return self.out
