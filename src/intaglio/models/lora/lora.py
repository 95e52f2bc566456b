"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): read, train, attach to a model, merge, write.

An attached adapter adds `weight * alpha / rank * up(down(x))` to the output of a linear layer or convolution by a
forward hook, so that no module is replaced and no name in a state dict changes. Files of LoHa, LoKr, LoCon with a
Tucker core, DoRA and OFT are read and act too, and are written again; they are not trained.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from intaglio.errors import BadInput, UnfitAdapter
from intaglio.models.lora.adapter_files import FILE_NAME, AdapterFile, adapter_files
from intaglio.models.lora.adapter_layers import AdapterLayer, Hooked, Layer, weight_place, weight_shape
from intaglio.models.lora.joined_layers import members, swapped
from intaglio.models.lora.keys import NO_KEY, Parsed, Strengths, cause_in_file, parse
from intaglio.models.lora.module_names import PARTS, Member, ModelNames, base_of_width, modules
from intaglio.models.lora.other_bases import FAMILY_NAMES, base_of_class, made_for_own, other_base, stated_family
from intaglio.models.lora.peft_config import read_config
from intaglio.models.lora.rotation_layers import RotationLayer
from intaglio.models.lora.write import written
from intaglio.models.packing.packed_linear import PackedLinear
from intaglio.models.weights_file import read_weights

__all__ = ["FILE_NAME", "LoRA"]

DENOISER_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""The attention projections of the denoiser, and of the text encoders."""

_Step = tuple[Hooked, AdapterLayer]


class LoRA:
    """`layers[part][module path] = (down, up, alpha)`; parts are "denoiser", "text_encoder" and "text_encoder_2".

    A layer of a file may be another `AdapterLayer` (LoHa, LoKr, Tucker, DoRA, OFT).
    Paths are those of diffusers, without `text_model.` in text encoders. A kohya file's layers keep their
    underscored names until `named_for` a model; attaching works either way.
    """

    def __init__(
        self,
        layers: Mapping[str, Mapping[str, AdapterLayer]],
        *,
        source: str = "the LoRA",
        metadata: Mapping[str, str] | None = None,
        names: ModelNames | None = None,
        keys: Mapping[tuple[str, str], Sequence[str]] | None = None,
        unsupported: Sequence[str] = (),
        notes: Sequence[str] = (),
        made_for: str | None = None,
    ):
        self.layers = {part: dict(found) for part, found in layers.items() if found}
        self.source = source  # what errors call it
        self.metadata = dict(metadata or {})
        self.names = names  # the names of the model it was made or resolved for
        self.unsupported = tuple(unsupported)  # "key: why", for every key of the file that was left out
        self.notes = tuple(notes)  # sentences for the user on how it was read
        self.made_for = made_for  # the base that the file names, where it is another than those used here
        self._keys = dict(keys or {})

    def __len__(self) -> int:
        return sum(len(found) for found in self.layers.values())

    def items(self) -> Iterator[tuple[str, str, AdapterLayer]]:
        """(part, path, layer) of every layer."""
        for part, found in self.layers.items():
            for path, layer in found.items():
                yield part, path, layer

    def pairs(self) -> Iterator[tuple[str, str, Layer]]:
        """(part, path, layer) of every layer that is a low-rank pair: all of an adapter made by `new`."""
        return ((part, path, layer) for part, path, layer in self.items() if isinstance(layer, Layer))

    def parameters(self) -> list[Tensor]:
        """Every tensor of the layers, in a fixed order: down and up of each low-rank pair."""
        return [tensor for _, _, layer in self.items() for tensor in layer.tensors()]

    @classmethod
    def new(
        cls,
        model: Any,
        rank: int,
        alpha: float,
        targets: Sequence[str] = DENOISER_TARGETS,
        generator: torch.Generator | None = None,
    ) -> "LoRA":
        """A fresh trainable adapter that changes nothing yet: down is Kaiming-uniform, up is zero; float32.

        `targets` are endings of module paths (`"to_q"`, `"ff.net.2"`, `"q_proj"`), looked for in the denoiser and the
        text encoders. Raises `ValueError` for a rank below 1 or a target that no module has.
        """
        if rank < 1 or not alpha > 0:
            raise ValueError(f"rank must be at least 1 and alpha positive, not {rank} and {alpha}")
        layers: dict[str, dict[str, Layer]] = {}
        unused = set(targets)
        for part in PARTS:
            for path, module in modules(model, part):
                ends = {target for target in targets if f".{path}".endswith(f".{target}")}
                if ends and _why_not_hooked(module) is None:
                    unused -= ends
                    layers.setdefault(part, {})[path] = _fresh(module, rank, alpha, generator)
        if unused or not targets:
            missing = ", ".join(sorted(unused)) or "no target"
            raise ValueError(f"no linear layer or convolution of the model ends in {missing}")
        return cls(layers, names=ModelNames.of(model))

    @classmethod
    def read(cls, path: Path | str) -> "LoRA":
        """Read a `.safetensors` file, or a folder of diffusers or PEFT that holds one, or one for each part.

        The layout (diffusers, PEFT, kohya, ComfyUI, LyCORIS) is recognised key by key. Alpha is the file's own, else
        that of PEFT's configuration, beside the file or in its metadata, else the rank, which `notes` says. Raises
        `BadInput` for pickles, truncated files, weights that are not finite, and files without a layer that can be
        used.
        """
        read = [_read_file(file) for file in adapter_files(Path(path))]
        if len(read) == 1:
            return read[0]
        layers: dict[str, dict[str, AdapterLayer]] = {}
        for one in read:
            for part, found in one.layers.items():
                layers.setdefault(part, {}).update(found)
        return cls(
            layers,
            source=str(path),
            metadata=read[0].metadata,
            keys={where: keys for one in read for where, keys in one._keys.items()},
            unsupported=[line for one in read for line in one.unsupported],
            notes=[note for one in read for note in one.notes],
            made_for=next((one.made_for for one in read if one.made_for), None),
        )

    def write(
        self,
        path: Path | str,
        layout: Literal["diffusers", "kohya"] = "diffusers",
        metadata: Mapping[str, str] | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write a `.safetensors` file, atomically, with `metadata` (texts) beside what the layout itself records.

        An adapter read from a file must be `named_for` a model first (`ValueError`): names differ between layouts.
        The layout of diffusers has one kind a part, LoRA, DoRA, LoHa, LoKr or PEFT's OFT, in PEFT's names; LyCORIS'
        names in kohya's take every kind but PEFT's OFT. Raises `BadInput` for layers that a layout cannot say, and
        warns of a DoRA in kohya's, which diffusers reads as the plain LoRA.
        """
        written(self.layers, self.source, self.names, Path(path), layout, dict(metadata or {}), dtype)

    def detached(self) -> "LoRA":
        """The same trained pairs (shared tensors), which collect no gradient any more."""
        layers = {}
        for part, path, layer in self.pairs():
            layers.setdefault(part, {})[path] = Layer(layer.down.detach(), layer.up.detach(), layer.alpha)
        return LoRA(layers, source=self.source, metadata=self.metadata, names=self.names)

    def named_for(self, model: Any) -> "LoRA":
        """The same layers (shared tensors) under the diffusers paths of `model`; unmatched ones are left out."""
        names = ModelNames.of(model)
        self._refuse_two_names(names)
        layers: dict[str, dict[str, AdapterLayer]] = {}
        for part, name, layer in self.items():
            part = names.part(part)
            found = names.members(part, name)
            if not isinstance(changes := _changes(layer, found), str):
                for member, change in zip(found, changes, strict=True):
                    layers.setdefault(part, {})[member.path] = change
        return LoRA(layers, source=self.source, metadata=self.metadata, names=names)

    def unmatched(self, model: Any) -> list[str]:
        """`"key: why"` for every key of the file that cannot act on `model`: unsupported, unknown, of another shape."""
        return self._planned(model)[1]

    def attach(self, model: Any, weight: float = 1.0, *, allow_unmatched: bool = False) -> "Attachment":
        """Hook the adapter into `model` until `detach`; it acts with `weight * alpha / rank`.

        The change of another kind than a low-rank pair is computed here, whole, and takes the memory of the weights.

        Raises `BadInput` if any key matches nothing; with `allow_unmatched` that is a warning, unless nothing matches.
        """
        plan, problems = self._checked(model, allow_unmatched)
        self._refuse_strength(plan, weight)
        hooks = [layer.hook(module, weight) for module, layer in plan]
        handles = [module.register_forward_hook(hook) for (module, _), hook in zip(plan, hooks, strict=True)]
        return Attachment(handles, problems)

    @contextmanager
    def attached(self, model: Any, weight: float = 1.0, *, allow_unmatched: bool = False) -> Iterator["Attachment"]:
        """`attach` for the length of a `with` block; the model is left as it was found, also on error."""
        attachment = self.attach(model, weight, allow_unmatched=allow_unmatched)
        try:
            yield attachment
        finally:
            attachment.detach()

    @torch.no_grad()
    def merged_into(self, model: Any, weight: float = 1.0, *, allow_unmatched: bool = False) -> Any:
        """Add the change to the model's own weights, for good, and return the model; `model.copy()` first to keep it.

        The sum is taken in float32 and rounded once to the weight's own type. Raises `BadInput` for a packed weight.
        """
        plan = self._checked(model, allow_unmatched)[0]
        if packed := next((module for module, _ in plan if isinstance(module, PackedLinear)), None):
            raise BadInput(
                f"{getattr(model, 'name', 'this model')} keeps weights as {packed.kind}, to which no LoRA is added; "
                "attach it, or read the model in its stored precision"
            )
        self._refuse_strength(plan, weight)
        for module, layer in plan:
            module.weight.copy_(module.weight.float() + layer.change(module.weight, weight))
        return model

    def _checked(self, model: Any, allow_unmatched: bool) -> tuple[list[_Step], list[str]]:
        plan, problems = self._planned(model)
        if problems and (not plan or not allow_unmatched):
            what = "None" if not plan else f"{len(problems)}"
            raise (BadInput if plan else UnfitAdapter)(
                f"{what} of the keys of {self.source} can{'' if not plan else 'not'} be used on "
                f"{getattr(model, 'name', 'this model')}{_first(problems)}; {self._cause(model, plan, problems)}."
            )
        if not plan:
            raise BadInput(f"{self.source} holds no layer at all; give a LoRA that was trained.")
        if problems:
            warnings.warn(f"{len(problems)} keys of {self.source} are not used{_first(problems)}", stacklevel=3)
        return plan, problems

    def _planned(self, model: Any) -> tuple[list[_Step], list[str]]:
        names = ModelNames.of(model)
        self._refuse_two_names(names)
        inside = {part: dict(modules(model, part)) for part in PARTS}
        plan, problems = [], list(self.unsupported)
        for said, name, layer in self.items():
            part = names.part(said)
            found = names.members(part, name)
            steps: list[_Step] | str = _why_no_module(model, part)
            if found:
                changes = _changes(layer, found)
                those = [inside[part][member.path] for member in found]
                steps = changes if isinstance(changes, str) else list(zip(those, changes, strict=True))
            misfits = () if isinstance(steps, str) else (_misfit(change, module) for module, change in steps)
            why = steps if isinstance(steps, str) else next((it for it in misfits if it), None)
            if why is not None or isinstance(steps, str):
                keys = self._keys.get((said, name)) or (f"{said}.{name}",)
                problems.extend(f"{key}: {why}" for key in keys)
            else:
                plan += steps
        return plan, problems

    def _refuse_strength(self, plan: list[_Step], weight: float) -> None:
        refusals = (layer.refusal(weight) for _, layer in plan if isinstance(layer, RotationLayer))
        if why := next((it for it in refusals if it), None):
            raise BadInput(f"{self.source}: {why}")

    def _refuse_two_names(self, names: ModelNames) -> None:
        """Raises `BadInput` where the file changes one module under two names: which of them holds is not said."""
        known: dict[tuple[str, str], str] = {}
        for part, name, _ in self.items():
            key = (self._keys.get((part, name)) or (name,))[0]
            for member in names.members(names.part(part), name):
                if (other := known.setdefault((names.part(part), member.path), key)) != key:
                    raise BadInput(
                        f"{self.source} holds two adapters for the same layer ({other} and {key}); "
                        "split it into two files"
                    )

    def _cause(self, model: Any, plan: list[_Step], problems: list[str]) -> str:
        cause = self._other_base(model)
        other = self.made_for == FAMILY_NAMES["sd3"] and ModelNames.of(model).family != "sd3"
        if cause is None and not plan and other:
            cause = f"it was made for {self.made_for}"  # of whose modules FLUX.1 has the names, in other sizes
        if cause is None and plan and all(line in self.unsupported for line in problems):
            cause = cause_in_file(problems)
        cause = cause or "it was most likely made for another base, or with layers that are not supported"
        rest = "; the rest can be used alone: --skip-unmatched, or allow_unmatched=True in Python"
        return cause + (rest if plan else "")

    def _other_base(self, model: Any) -> str | None:
        if self.made_for is not None and not made_for_own(self.made_for, ModelNames.of(model).family):
            return f"it was made for {self.made_for}"
        family, stated = ModelNames.of(model).family, stated_family(self.metadata)
        if stated is not None and family and stated != family:
            return f"it was made for {FAMILY_NAMES[stated]}"
        mine = _text_width((name, layer.shape[1]) for name, layer in self.layers.get("denoiser", {}).items())
        its = _text_width((path, shape[1]) for path, shape in _shapes(model, "denoiser") if len(shape) == 2)
        if mine and its and mine != its:
            made = base_of_width(mine) or f"a base with text embeddings of width {mine}"
            return f"it was made for {made}, this model's text embeddings have width {its}"
        return None


def _read_file(file: AdapterFile) -> LoRA:
    stored, metadata = read_weights(file.path, "LoRA")
    # Eight-bit floats can be stored but not computed with.
    tensors = {key: tensor if tensor.dtype.itemsize > 1 else tensor.float() for key, tensor in stored.items()}
    for key, tensor in tensors.items():
        if tensor.is_complex():
            raise BadInput(
                f"{file.path} holds {key} as complex numbers, which no LoRA has; save it again from training"
            )
        if not torch.isfinite(tensor).all():
            raise BadInput(f"{file.path} holds NaN or infinity ({key}): its training diverged; use an earlier one.")
    config = None if file.config is None else read_config(file.config)
    part = file.part or (None if config is None else config.part)
    parsed = parse(tensors, Strengths(metadata, str(file.path), config), part)
    made_for = (config and base_of_class(config.base_class)) or other_base(tensors, metadata)
    if not parsed.layers:
        elsewhere = made_for if all(line.endswith(NO_KEY) for line in parsed.unsupported) else None
        cause = f"; it was made for {elsewhere}" if elsewhere else ""
        raise BadInput(f"{file.path} holds no LoRA layer that can be used{_first(parsed.unsupported)}{cause}.")
    return LoRA(
        parsed.layers,
        source=str(file.path),
        metadata=metadata,
        keys=parsed.keys,
        unsupported=parsed.unsupported,
        notes=_about_alphas(file.path, parsed),
        made_for=made_for,
    )


def _about_alphas(path: Path, parsed: Parsed) -> list[str]:
    """A note on layers whose alpha nothing says."""
    if not parsed.assumed:
        return []
    every = sum(len(found) for found in parsed.layers.values())
    which = "" if len(parsed.assumed) == every else f" of {len(parsed.assumed)} of its {every} layers"
    return [f"{path} does not say the alpha{which}; the rank is taken, so that the LoRA acts with strength 1"]


class Attachment:
    """An adapter's hooks on a model; `detach` removes them (twice is once)."""

    def __init__(self, handles: Sequence[RemovableHandle], unmatched: Sequence[str]):
        self._handles = list(handles)
        self.unmatched = tuple(unmatched)  # "key: why", what was left out on request

    def detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()


def _changes(layer: AdapterLayer, found: Sequence[Member]) -> list[AdapterLayer] | str:
    """The layer's change of each module that it is found to change, or the reason that it has none."""
    if not any(member.rows or member.swapped for member in found):
        return [layer] * len(found)
    try:
        return [swapped(layer)] if found[0].swapped else members(layer, found[0].rows)
    except ValueError as error:
        return str(error)


def _misfit(layer: AdapterLayer, module: Hooked) -> str | None:
    """The reason that a layer cannot act on a module; None where it can."""
    return _why_not_hooked(module) or layer.misfit(weight_shape(module))


def _why_not_hooked(module: Hooked) -> str | None:
    if isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros"):
        return "grouped convolutions and paddings other than zeros are not supported"
    return None


def _why_no_module(model: Any, part: str) -> str:
    return "the model has no module of that name" if part in model.parts else f"the model has no {part}"


def _fresh(module: Hooked, rank: int, alpha: float, generator: torch.Generator | None) -> Layer:
    (out, *inner), (device, _) = weight_shape(module), weight_place(module)
    made_on = generator.device if generator is not None else "cpu"
    down = torch.empty(rank, *inner, device=made_on)
    nn.init.kaiming_uniform_(down, a=5**0.5, generator=generator)
    down = down.to(device).requires_grad_()
    up = torch.zeros(out, rank, *(1 for _ in inner[1:]), device=device, requires_grad=True)
    return Layer(down, up, float(alpha))


def _shapes(model: Any, part: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    return ((path, weight_shape(module)) for path, module in modules(model, part))


def _text_width(inputs: Iterator[tuple[str, int]]) -> int | None:
    """The width of the text embeddings, from the inputs of the cross-attention keys."""
    return next((width for name, width in inputs if name.replace(".", "_").endswith("attn2_to_k")), None)


def _first(problems: Sequence[str], count: int = 3) -> str:
    """The first problems, one of each reason: all keys of a module have the same one."""
    by_reason: dict[str, str] = {}
    for line in problems:
        by_reason.setdefault(line.partition(": ")[2], line)
    shown = "; ".join([*by_reason.values()][:count])
    return f" (first: {shown})" if shown else ""
