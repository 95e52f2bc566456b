"""`FittedSources`: what a method learnt of known sources, with the numbers of held-out pictures; a folder of two files.

`attributor.safetensors` has the tensors with plain facts, `README.md` the card.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intaglio.audit.attribution.source_p_values import HeldOut, fits, held_out_p_values, only_fit, shares_of_sources
from intaglio.data_files import Fields
from intaglio.errors import BadInput, IntaglioError
from intaglio.files import atomic_write
from intaglio.printable import one_line
from intaglio.runs.plain_json import digest, to_json
from intaglio.runs.tensors import read_state, tensor_hash, write_state

KIND = "fitted sources"
WEIGHTS, CARD = "attributor.safetensors", "README.md"
HELD = "held out/"
"""Prefix of the tensors of held-out pictures in the file."""
CARD_RATE = 0.05
"""The rate for which the card tells the held-out pictures' verdicts."""


@dataclass(frozen=True, eq=False)
class FittedSources:
    """A method's fit to K sources, with m held-out pictures."""

    method: str
    settings: Mapping[str, Any]
    """The method's settings, as JSON has them."""
    sources: tuple[str, ...]
    size: tuple[int, int]
    """Height and width of the pictures, pixels."""
    taught: tuple[str, ...]
    """Hashes of the pictures that taught."""
    held: tuple[str, ...]
    """Hashes of the held-out pictures."""
    held_numbers: HeldOut
    """Of the held-out pictures, in the same order."""
    tensors: Mapping[str, Tensor] = field(repr=False)
    """Tensors that were learnt, by name."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of the sources' models that the method asks, by source; none where it looks at pictures alone."""

    @property
    def own_settings(self) -> dict[str, Any]:
        """The method's settings as it takes them: lists as tuples."""
        return {name: tuple(value) if isinstance(value, list) else value for name, value in self.settings.items()}

    @property
    def held_accuracy(self) -> float:
        """Share of held-out pictures whose most probable source is their own, averaged over sources."""
        labels = self.held_numbers.labels
        right = self.held_numbers.posterior.argmax(1) == labels
        return float(torch.stack([right[labels == k].double().mean() for k in range(len(self.sources))]).mean())

    def held_verdicts(self, rate: float) -> list[dict[str, int]]:
        """Of the held-out pictures of each source, each judged as if it were new: pictures, own, other, none, several.

        Args:
            rate: asked for, in (0, 1).
        """
        verdicts = only_fit(fits(held_out_p_values(self.held_numbers), rate))
        return shares_of_sources(verdicts.tolist(), self.held_numbers.labels.tolist(), len(self.sources))

    @cached_property
    def hash(self) -> str:
        """64 hex digits that change with the settings, the pictures and every bit of the tensors."""
        return digest([self._about, {name: tensor_hash(one) for name, one in self._stored.items()}])

    @property
    def _about(self) -> dict[str, Any]:
        about = {"kind": KIND, "method": self.method, "settings": dict(self.settings), "sources": list(self.sources)}
        about |= {"size": list(self.size), "taught": list(self.taught), "held": list(self.held)}
        return about | ({"models": dict(self.models)} if self.models else {})

    @property
    def _stored(self) -> dict[str, Tensor]:
        held = self.held_numbers._asdict()
        return {**self.tensors, **{f"{HELD}{name}": tensor for name, tensor in held.items()}}

    def save(self, folder: Path) -> Path:
        """Writes the folder; returns it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_state(folder / WEIGHTS, self._stored, {**self._about, "hash": self.hash})
        atomic_write(folder / CARD, self.card())
        return folder

    @classmethod
    def load(cls, folder: Path, method: str) -> "FittedSources":
        """The fit in a folder that `save` wrote.

        Raises `BadInput` for a folder without one, a file that is damaged or was changed, and another method's.
        """
        path, remedy = Path(folder) / WEIGHTS, "give the folder attributor of a run of intaglio audit attribution"
        try:
            read = read_state(path)
        except IntaglioError:  # of a run's state it says that the work is done again
            raise BadInput(f"{path} is cut off or damaged; {remedy}") from None
        if read is None:
            raise BadInput(f"{folder} holds no {WEIGHTS}; {remedy}")
        if read[1].get("kind") != KIND or read[1].get("method") != method:
            found = read[1].get("method") if read[1].get("kind") == KIND else None
            what = f"was fitted by {one_line(str(found))}" if found else "holds no fitted sources"
            raise BadInput(f"{path} {what}, and not by {method}; {remedy} {method}")
        tensors, fields = dict(read[0]), Fields.of(dict(read[1]), str(path), remedy)
        try:
            numbers = HeldOut(*(tensors.pop(f"{HELD}{name}") for name in HeldOut._fields))
            about = fields.values
            height, width = (int(side) for side in about["size"])
            found = cls(
                method=method,
                settings=dict(fields.table("settings").values),
                sources=tuple(str(name) for name in about["sources"]),
                size=(height, width),
                taught=tuple(map(str, about["taught"])),
                held=tuple(map(str, about["held"])),
                held_numbers=numbers,
                tensors=tensors,
                models={str(name): str(one) for name, one in dict(about.get("models", {})).items()},
            )
            whole = found.hash == fields.text("hash")
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{path} lacks what a fit needs ({error}); {remedy}") from None
        if not whole:
            raise BadInput(f"{path} was changed since it was fitted; {remedy}")
        return found

    def card(self) -> str:
        """The card as Markdown: method, sources, sizes, held-out pictures and their verdicts, settings, hash."""
        rows = [
            f"| {one_line(name)} | {found['pictures']} | {found['own']} | {found['other']} | {found['none']} "
            f"| {found['several']} |"
            for name, found in zip(self.sources, self.held_verdicts(CARD_RATE), strict=True)
        ]
        height, width = self.size
        return "\n".join(
            [
                f"# Sources told apart by {self.method}",
                "",
                f"Fitted to {len(self.taught)} pictures of {height} x {width} pixels from {len(self.sources)} sources; "
                f"{len(self.held)} more were held out. Of these the most probable source is the right one for "
                f"{self.held_accuracy:.1%}, averaged over the sources. Each judged as if it were new, at a rate of "
                f"{CARD_RATE:.0%}:",
                "",
                "| source | held out | attributed to it | to another | fits none | fits several |",
                "|---|---|---|---|---|---|",
                *rows,
                "",
                *(f"Model of {one_line(name)}: {one}\n" for name, one in self.models.items()),
                "Settings:",
                "",
                *(f"    {name} = {json.dumps(value)}" for name, value in self.settings.items()),
                "",
                f"Hash: {self.hash}",
                "",
            ]
        )


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back: tuples as lists, paths as their names."""
    return json.loads(to_json(dict(settings)))
