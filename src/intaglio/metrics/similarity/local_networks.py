"""Image networks from local files, TorchScript or transformers, with the preprocessing each was made for."""

import hashlib
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.files import file_hash
from intaglio.metrics.similarity.script_check import first_line, load_script

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
Filter = Literal["bilinear", "bicubic"]
FILTERS: dict[int, Filter] = {2: "bilinear", 3: "bicubic"}
"""Filters by Pillow's numbers, which `preprocessor_config.json` uses."""

KINDS = ("clip", "clip_vision_model", "vit", "dinov2")
"""Types of networks of transformers that are read."""
LARGEST_SIDE = 2**14
"""Pixels of the longest side of a network's input."""
AGAIN = "export the network again"


@dataclass(frozen=True)
class Preprocessing:
    """Pictures in [0, 1] to a network's input: resize, centre crop, (x - mean) / deviation."""

    resize: int | tuple[int, int] | None = None
    """The shorter side in pixels, or (height, width); None leaves the size."""
    crop: tuple[int, int] | None = None
    """(height, width) of the centre that is kept, pixels."""
    filter: Filter = "bicubic"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self):
        if len(self.deviation) != 3 or not all(0 < part < math.inf for part in self.deviation):
            raise ValueError(f"the deviation of each of three channels must be positive, not {self.deviation}")
        if len(self.mean) != 3 or not all(map(math.isfinite, self.mean)):
            raise ValueError(f"the mean must be three numbers, not {self.mean}")
        sides = [self.resize] if isinstance(self.resize, int) else [*(self.resize or ())]
        if not all(1 <= side <= LARGEST_SIDE for side in (*sides, *(self.crop or ()))):
            raise ValueError(f"sides must be 1 to {LARGEST_SIDE} pixels, not {self.resize} and {self.crop}")

    @property
    def side(self) -> int | None:
        """Shorter side of what it gives, pixels; None where that is the picture's own."""
        given = self.crop or self.resize
        return min(given) if isinstance(given, tuple) else given

    def __call__(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 hh ww"]:
        if self.resize is not None:
            pixels = resized(pixels, self._target(pixels.shape[-2], pixels.shape[-1]), self.filter)
        if self.crop is not None:
            pixels = _centre(pixels, self.crop)
        mean, deviation = (pixels.new_tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.deviation))
        return (pixels - mean) / deviation

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        short = self.resize or 0
        if height <= width:
            return short, int(short * width / height)
        return int(short * height / width), short


def resized(
    pixels: Float[Tensor, "n 3 h w"], size: tuple[int, int], filter: Filter = "bilinear"
) -> Float[Tensor, "n 3 hh ww"]:
    """To (height, width) with antialiasing, as Pillow does it; stays in [0, 1]."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return interpolate(pixels, size=size, mode=filter, antialias=True, align_corners=False).clamp(0, 1)


def _centre(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of the picture; black is put around where it is smaller."""
    margins = [have - want for have, want in zip(pixels.shape[-2:], size, strict=True)]
    if min(margins) < 0:
        rows, columns = (max(-margin, 0) for margin in margins)
        around = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
        return _centre(nn.functional.pad(pixels, around), size)
    top, left = (margin // 2 for margin in margins)
    return pixels[..., top : top + size[0], left : left + size[1]]


@dataclass(frozen=True)
class EncoderNetwork:
    """A loaded network with its preprocessing: pictures in [0, 1] to descriptors [n, d], not normalised."""

    name: str
    source_hash: str
    preprocessing: Preprocessing
    describe: Callable[[Tensor], Any]
    variant: str = ""

    def __call__(self, pixels: Tensor) -> Any:
        return self.describe(self.preprocessing(pixels))

    @property
    def hash(self) -> str:
        settings = json.dumps([self.source_hash, self.variant, asdict(self.preprocessing)])
        return hashlib.sha256(settings.encode()).hexdigest()


# --- TorchScript ------------------------------------------------------------------------------------------------------


def torchscript(path: Path, device: torch.device, preprocessing: Preprocessing | None = None) -> EncoderNetwork:
    """A TorchScript file whose forward takes [n, 3, h, w] and gives [n, d].

    By default pictures are brought to 288 pixels on the shorter side (bilinear) and normalised with ImageNet's mean
    and deviation, as SSCD asks for. A file of the same stem that ends in `.json` overrides this, in the layout of
    transformers' `preprocessor_config.json`, a bare size being the shorter side.

    The file is a program, which is loaded only where it does nothing but compute (`script_check`); a file made with
    plain `torch.save` holds a pickle, which can run any code when it is loaded, and is refused.
    """
    module = load_script(path, device)
    sscd = Preprocessing(resize=288, filter="bilinear", mean=IMAGENET[0], deviation=IMAGENET[1])
    preprocessing = preprocessing or read_preprocessing(path.with_suffix(".json"), sscd)

    def describe(pixels: Tensor) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return module(pixels)
        except Exception as error:  # a program may raise whatever it likes
            reason = first_line(error)
            raise BadInput(f"{path} cannot take pictures of shape {tuple(pixels.shape)[1:]} ({reason})") from error

    return EncoderNetwork(f"TorchScript {path.name}", file_hash(path), preprocessing, describe)


# --- transformers -----------------------------------------------------------------------------------------------------


def vision_transformer(
    folder: Path, device: torch.device, preprocessing: Preprocessing | None = None, blocks: int | None = None
) -> EncoderNetwork:
    """CLIP's image embedding, or the class tokens of the last `blocks` blocks of a ViT (DINO) or DINOv2.

    Each block's token goes through the network's last layer normalisation, as in DINO's own evaluation.
    """
    config = _config(folder / "config.json")
    if not (folder / "model.safetensors").is_file():
        raise BadInput(
            f"{folder} has no model.safetensors; pickled weights (.bin) are not loaded: convert them with "
            "save_pretrained(safe_serialization=True) where you trust their source"
        )
    kind = config.text("model_type", None)
    if kind not in KINDS:
        raise BadInput(f"{folder} holds a network of type {kind}; give CLIP, DINO (vit) or DINOv2")
    if kind.startswith("clip") and blocks is not None:
        raise BadInput(f"{folder} is CLIP, whose score is its image embedding; `blocks` is for DINO and DINOv2")
    vision = config.table("vision_config", config)
    _check_sizes(vision, folder / "model.safetensors")
    both_sides = kind == "vit"
    file = folder / "preprocessor_config.json"
    preprocessing = preprocessing or read_preprocessing(file, _published(kind, vision), both_sides=both_sides)
    source_hash = file_hash(folder / "model.safetensors")
    if kind.startswith("clip"):
        return EncoderNetwork(f"CLIP {folder.name}", source_hash, preprocessing, _clip(folder, device), kind)
    if blocks is None:
        blocks = 4 if kind == "vit" else 1
    depth = vision.whole("num_hidden_layers", 0)
    if not 1 <= blocks <= depth:
        raise BadInput(f"{folder} has {depth} blocks; `blocks` must be from 1 to {depth}, not {blocks}")
    describe = _class_tokens(folder, device, kind, blocks)
    label = "ViT" if kind == "vit" else "DINOv2"
    name = f"{label} {folder.name}, class token" + (f"s of the last {blocks} blocks" if blocks > 1 else "")
    return EncoderNetwork(name, source_hash, preprocessing, describe, f"{kind} {blocks}")


def _clip(folder: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    from transformers import CLIPVisionModelWithProjection

    model = pretrained(CLIPVisionModelWithProjection, folder, device)
    return lambda pixels: model(pixel_values=pixels).image_embeds


def _class_tokens(folder: Path, device: torch.device, kind: str, blocks: int) -> Callable[[Tensor], Tensor]:
    from transformers import Dinov2Model, ViTModel

    if kind == "vit":
        model = pretrained(ViTModel, folder, device, add_pooling_layer=False)
    else:
        model = pretrained(Dinov2Model, folder, device)

    def describe(pixels: Tensor) -> Tensor:
        extra = {"interpolate_pos_encoding": True} if kind == "vit" else {}
        states: Sequence[Tensor] = model(pixel_values=pixels, output_hidden_states=True, **extra).hidden_states
        return torch.cat([model.layernorm(state)[:, 0] for state in states[-blocks:]], dim=1)

    return describe


def pretrained(kind: Any, folder: Path, device: torch.device, **settings: Any) -> Any:
    """A network of transformers with all its weights, in evaluation mode and without gradients of them.

    Raises `BadInput` for a folder that cannot be loaded as `kind`, or that lacks weights.
    """
    try:
        with _quiet():
            model, report = kind.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **settings,
            )
    except Exception as error:
        raise BadInput(f"{folder} cannot be loaded as {kind.__name__} ({first_line(error)})") from error
    missing = sorted([*report["missing_keys"], *(str(m) for m in report["mismatched_keys"])])
    if missing:
        raise BadInput(f"{folder}/model.safetensors lacks {missing[0]}, so the network would be random there")
    return model.eval().requires_grad_(False).to(device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Transformers' progress bars and reports off: what matters of them becomes an error here."""
    from transformers.utils import logging as library

    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()


def _config(path: Path) -> Fields:
    if not path.exists():
        raise BadInput(f"{path} is missing; give a folder written by transformers' save_pretrained")
    return Fields.read(path, AGAIN)


def _check_sizes(vision: Fields, weights: Path) -> None:
    """Raises `BadInput` for a network that is larger than its weights, before memory is taken for it."""
    width, depth = vision.whole("hidden_size", 0, high=2**15), vision.whole("num_hidden_layers", 0, high=1000)
    inner = vision.whole("intermediate_size", 0, high=2**18)
    for key in ("num_attention_heads", "patch_size", "image_size", "num_channels"):
        vision.whole(key, 1, low=1, high=2**14)
    # A block has four square matrices and two of its inner width, of a byte a number at the least.
    if depth * (4 * width**2 + 2 * width * inner) > weights.stat().st_size:
        raise BadInput(f"{vision.source} declares a network that is larger than {weights.name}; {AGAIN}")


def read_preprocessing(path: Path, default: Preprocessing, *, both_sides: bool = False) -> Preprocessing:
    """The preprocessing of a file in the layout of `preprocessor_config.json`; `default` where there is none.

    With `both_sides` a bare size is that of both sides: so a ViT's processor reads it, and CLIP's as the shorter side.
    """
    if not path.exists():
        return default
    found = Fields.read(path, AGAIN).values
    try:
        crop = _sides(found["crop_size"]) if found.get("do_center_crop") and "crop_size" in found else None
        return Preprocessing(
            resize=_resize(found["size"], both_sides) if found.get("do_resize", True) and "size" in found else None,
            crop=(crop, crop) if isinstance(crop, int) else crop,
            filter=FILTERS[found["resample"]] if "resample" in found else default.filter,
            mean=tuple(found["image_mean"]) if found.get("do_normalize", True) else (0.0, 0.0, 0.0),
            deviation=tuple(found["image_std"]) if found.get("do_normalize", True) else (1.0, 1.0, 1.0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} asks for a preprocessing that is not known here ({error}); pass your own") from error


def _published(kind: str, vision: Fields) -> Preprocessing:
    side = vision.whole("image_size", 224, low=1, high=2**14)
    if kind.startswith("clip"):
        return Preprocessing(resize=side, crop=(side, side), mean=CLIP[0], deviation=CLIP[1])
    if kind == "dinov2" and side == 518:
        side = 224  # trained at 518, published for use at 224
    return Preprocessing(resize=side * 256 // 224, crop=(side, side), mean=IMAGENET[0], deviation=IMAGENET[1])


def _resize(size: Any, both_sides: bool) -> int | tuple[int, int]:
    if isinstance(size, dict) and "shortest_edge" in size:
        return int(size["shortest_edge"])
    sides = _sides(size)
    return (sides, sides) if isinstance(sides, int) and both_sides else sides


def _sides(size: Any) -> int | tuple[int, int]:
    if isinstance(size, dict):
        return int(size["height"]), int(size["width"])
    return int(size)
