"""Loading of single-file checkpoints: one `.safetensors` file in the original latent-diffusion layout."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.component_folders import read_tokenizer
from intaglio.models.diffusion.families.unets import UNets
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.prompt_lengths import fitted
from intaglio.models.diffusion.single_file_configs import FAMILIES, SIDE_V
from intaglio.models.diffusion.single_file_layout import (
    Layout,
    Shapes,
    Source,
    prefix_of,
    problems,
    recognised,
    sources,
    unused_keys,
)
from intaglio.models.diffusion.single_file_marks import notes_on_other_keys, refuse_marked, scheduler_settings
from intaglio.models.diffusion.skeletons import filled, shapes_of, skeleton
from intaglio.models.weights_file import checked, opened

UNETS = UNets()
TEXT_PARTS = ("text_encoder", "text_encoder_2")
ReadFolder = Callable[[Path], LatentDiffusion]


def load_single_file(
    path: Path | str,
    like: LatentDiffusion | Path | str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    read_folder: ReadFolder,
) -> LatentDiffusion:
    """Reads a Stable Diffusion 1.x, 2.x or XL checkpoint from one file, or the denoiser of one.

    Args:
        path: the `.safetensors` file.
        like: a model of the same family: loaded, a diffusers folder, or a folder with only `tokenizer` (and
            `tokenizer_2` for XL). It gives the tokenizers, which no such file holds, and any whole part that the file
            lacks; `notes` of the result list these. The prediction type comes from the file's metadata or keys, else
            from `like`, else from the family.
        device: device of the weights.
        dtype: precision of the weights; the autoencoder's is always float32.
        read_folder: reads a diffusers folder that `like` names, after the file was checked.

    Raises:
        BadInput: for pickled, truncated and incomplete files, other kinds of models, and a `like` of another family.
    """
    path = Path(path)
    with opened(path, "checkpoint") as file:
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        metadata = dict(file.metadata() or {})
        layout = recognised(shapes, str(path))
        refuse_marked(path, shapes)
        donor = _Donor.of(like, path, layout, read_folder)
        given = (donor.name, donor.model.scheduler) if donor.model else None
        own = file.get_tensor("alphas_cumprod") if "alphas_cumprod" in shapes else None
        scheduler, notes = scheduler_settings(path, layout, given, shapes, metadata, own)
        parts, prefixes, unused = {}, [], list[str]()
        for part in donor.parts(layout):
            prefix = prefix_of(layout, part, shapes)
            prefixes.append(prefix)
            if any(key.startswith(prefix) for key in shapes):
                module, found = _planned(path, layout, part, list(_configs(layout, donor, part, scheduler)), shapes)
                left = unused_keys(layout, part, found, shapes)
                notes += [f"{len(left)} keys of the file's {part} are not used ({left[0]})"] if left else []
                unused += [f"{path}: {key}" for key in left]
                parts[part] = _filled(module, found, file, path, torch.float32 if part == "autoencoder" else dtype)
            else:
                parts[part] = donor.part(part, path)
                notes.append(f"{part} taken from {donor.name}, as the file has none")
    if layout.denoiser:
        more, others = notes_on_other_keys(path, shapes, prefixes)
        notes, unused = notes + more, unused + others
    _check_vocabulary(path, donor, parts)
    encoders = [parts[name] for name in TEXT_PARTS if name in parts]
    tokenizers, lengths = fitted(donor.tokenizers, encoders)
    model = LatentDiffusion(
        denoiser=parts["denoiser"],
        autoencoder=parts["autoencoder"],
        text_encoders=encoders,
        tokenizers=tokenizers,
        scheduler=scheduler,
        name=path.stem,
        source=path,
        notes=[*notes, *lengths],
        unused=unused,
    )
    return model.to(device, dtype)


# Networks


def _configs(layout: Layout, donor: "_Donor", part: str, scheduler: Mapping[str, Any]) -> Iterator[Any]:
    """Settings to try: the donor's own, which may be of an unusual size, then those published with the family."""
    if donor.model is not None and part in donor.model.parts:
        config: Any = donor.model.parts[part].config
        yield config
    if layout.family is not None:
        config = FAMILIES[layout.family].configs[part]
        large = layout.family == "sd2" and part == "denoiser" and scheduler["prediction_type"] == "v_prediction"
        yield {**config, "sample_size": SIDE_V} if large else config


def _planned(
    path: Path, layout: Layout, part: str, configs: list[Any], shapes: Shapes
) -> tuple[nn.Module, dict[str, Source]]:
    """The first network that the file's weights fill, and the source of each weight."""
    faults: list[str] = []
    for config in configs:
        module = skeleton(UNETS.network(part), config)
        wanted = shapes_of(module)
        found = sources(layout, part, wanted, shapes)
        wrong = problems(found, wanted, shapes)
        if part == "denoiser":
            wrong += [f"{key}: not a part of this denoiser" for key in unused_keys(layout, part, found, shapes)]
        if not wrong:
            return module, found
        faults = min(faults or wrong, wrong, key=len)
    kind = FAMILIES[layout.family].name if layout.family else "the given base"
    raise BadInput(
        f"{path} does not fit {kind}: {len(faults)} weights of its {part} are wrong (first: {'; '.join(faults[:3])}); "
        "export it again, or give a base of its own shape with --like."
    )


def _filled(module: nn.Module, found: Mapping[str, Source], file: Any, path: Path, dtype: torch.dtype) -> nn.Module:
    wanted = shapes_of(module)
    return filled(module, lambda name: _weight(file, path, found[name], wanted[name]), dtype)


def _weight(file: Any, path: Path, source: Source, shape: tuple[int, ...]) -> Tensor:
    tensor = checked(file.get_tensor(source.key), path, source.key)
    if source.third is not None:
        tensor = tensor.chunk(3)[source.third].clone()
    return (tensor.T.contiguous() if source.transposed else tensor).reshape(shape)


# What the file does not hold


@dataclass(frozen=True)
class _Donor:
    """The model that gives what the file lacks; `model` is None if it is only a folder of tokenizers."""

    name: str
    tokenizers: tuple[Any, ...]
    model: LatentDiffusion | None = None

    @classmethod
    def of(
        cls, like: LatentDiffusion | Path | str | None, path: Path, layout: Layout, read_folder: ReadFolder
    ) -> "_Donor":
        family = FAMILIES[layout.family].name if layout.family else "its own family"
        if like is None:
            raise BadInput(
                f"{path} is a single file, which holds no tokenizer; also give the base, or a diffusers folder of "
                f"{family} with --like."
            )
        donor = cls._of_model(like) if isinstance(like, LatentDiffusion) else cls._of_folder(Path(like), read_folder)
        texts = FAMILIES[layout.family].texts if layout.family else donor.tokenizers
        width = donor.model.denoiser.config.cross_attention_dim if donor.model else layout.width  # type: ignore[union-attr]
        if len(donor.tokenizers) != len(texts) or width != layout.width:
            raise BadInput(f"{path} is of another family than {donor.name}; give a diffusers folder of {family}.")
        return donor

    @classmethod
    def _of_model(cls, model: LatentDiffusion) -> "_Donor":
        return cls(model.name, model.tokenizers, model)

    @classmethod
    def _of_folder(cls, folder: Path, read_folder: ReadFolder) -> "_Donor":
        if (folder / "tokenizer").is_dir() and not (folder / "unet").is_dir():
            names = [name for name in ("tokenizer", "tokenizer_2") if (folder / name).is_dir()]
            return cls(str(folder), tuple(read_tokenizer("CLIPTokenizer", folder / name) for name in names))
        return cls._of_model(read_folder(folder))

    def parts(self, layout: Layout) -> list[str]:
        if layout.family:
            return list(FAMILIES[layout.family].configs)
        return list(self.model.parts) if self.model else ["denoiser"]

    def part(self, part: str, path: Path) -> nn.Module:
        """A copy of the donor's part."""
        if self.model is None:
            raise BadInput(f"{path} has no {part}, nor has {self.name}; give a whole diffusers folder with --like.")
        return copy.deepcopy(self.model.parts[part])


def _check_vocabulary(path: Path, donor: _Donor, parts: Mapping[str, nn.Module]) -> None:
    encoders: list[Any] = [parts[name] for name in TEXT_PARTS if name in parts]
    for encoder, tokenizer in zip(encoders, donor.tokenizers, strict=True):
        rows = encoder.get_input_embeddings().num_embeddings
        if len(tokenizer) > rows:
            raise BadInput(
                f"{donor.name} knows {len(tokenizer)} tokens where {path} has embeddings for {rows}; "
                "give a diffusers folder of the same family with --like."
            )
