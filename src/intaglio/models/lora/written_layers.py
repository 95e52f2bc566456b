"""The tensors by which each kind of change is written: in the names of LyCORIS and kohya, and in those of PEFT.

A part of an adapter is of one kind in PEFT, and so in diffusers: the fields of its configuration are made here too.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.lora.adapter_layers import AdapterLayer, Layer
from intaglio.models.lora.dense_layers import Factors, HadamardLayer, KroneckerLayer, MagnitudeLayer, TuckerLayer
from intaglio.models.lora.rotation_layers import RotationLayer

Found = Mapping[str, AdapterLayer]
"""The layers of a part by path."""


def lycoris_tensors(layer: AdapterLayer) -> dict[str, Tensor]:
    """The tensors of a layer by the endings of their names in files of kohya and LyCORIS.

    Raises `ValueError`, with the reason, for a kind that such files cannot say.
    """
    if isinstance(layer, Layer):
        return {"lora_down.weight": layer.down, "lora_up.weight": layer.up, "alpha": torch.tensor(layer.alpha)}
    if isinstance(layer, TuckerLayer):
        up, down, core = layer.factors.a.T, layer.factors.b, layer.factors.core
        found = {"lora_down.weight": down[:, :, None, None], "lora_up.weight": up[:, :, None, None]}
        return found | _given("lora_mid.weight", core) | {"alpha": torch.tensor(layer.scale * layer.factors.rank)}
    if isinstance(layer, HadamardLayer):
        return _hadamard(layer) | {"alpha": torch.tensor(layer.scale * layer.first.rank)}
    if isinstance(layer, KroneckerLayer):
        return _kronecker(layer)
    if isinstance(layer, MagnitudeLayer):
        ones = [1] * (layer.dimensions - 2)
        shape = [layer.magnitude.numel(), 1] if layer.of_rows else [1, layer.magnitude.numel()]
        return lycoris_tensors(layer.inner) | {"dora_scale": layer.magnitude.reshape(*shape, *ones)}
    if isinstance(layer, RotationLayer) and "oft_blocks" in layer.stored:
        return dict(layer.stored)
    raise ValueError(f"kohya's layout has no {layer.kind} of this form")


def rank_and_alpha(layer: AdapterLayer) -> tuple[int, float] | None:
    """Rank and alpha of a layer; None for one without a rank."""
    if isinstance(layer, MagnitudeLayer):
        return rank_and_alpha(layer.inner)
    if isinstance(layer, Layer):
        return layer.rank, layer.alpha
    if isinstance(layer, TuckerLayer):
        return layer.factors.rank, layer.scale * layer.factors.rank
    if isinstance(layer, HadamardLayer):
        return layer.first.rank, layer.scale * layer.first.rank
    ranks = [one.rank for one in _parts(layer) if isinstance(one, Factors)]
    return (ranks[0], layer.scale * ranks[0]) if ranks and isinstance(layer, KroneckerLayer) else None


def peft_tensors(found: Found, source: str) -> tuple[dict[str, dict[str, Tensor]], dict]:
    """(tensors of each path by the endings of their names, fields of the configuration) of a part in PEFT's terms.

    Raises `BadInput`, naming `source`, for kinds that PEFT does not load, and for several kinds in one part.
    """
    kinds = {path: _peft_kind(layer) for path, layer in found.items()}
    for path, kind in kinds.items():
        if kind is None:
            raise _refused(source, path, found[path], "which neither diffusers nor PEFT loads")
        if kind != (first := next(iter(kinds.values()))):
            raise _refused(source, path, found[path], f"and other layers otherwise ({first}); diffusers loads one kind")
    kind = next(iter(kinds.values()))
    if kind == "LoHa":
        return _loha(found)
    if kind == "LoKr":
        return _lokr(found, source)
    if kind == "OFT":
        return _oft(found, source)
    tensors, pairs = {}, {}
    for path, layer in found.items():
        pair = layer.inner if isinstance(layer, MagnitudeLayer) else layer
        if isinstance(pair, Layer):
            pairs[path] = (pair.rank, pair.alpha)
            magnitude = _magnitude(layer, pair.down.ndim)
            # In one precision: diffusers tells the naming by the first key, and files have the wide ones first.
            dtype = magnitude.get("lora_magnitude_vector.weight", pair.down).dtype
            dtype = torch.promote_types(dtype, torch.promote_types(pair.down.dtype, pair.up.dtype))
            of_path = {"lora_A.weight": pair.down, "lora_B.weight": pair.up} | magnitude
            tensors[path] = {name: tensor.to(dtype) if magnitude else tensor for name, tensor in of_path.items()}
    config = _numbers(pairs, "lora_alpha") | {"use_rslora": False, "use_dora": kind == "DoRA"}
    return tensors, config


def _peft_kind(layer: AdapterLayer) -> str | None:
    if isinstance(layer, MagnitudeLayer):
        return "DoRA" if layer.of_rows and isinstance(layer.inner, Layer) else None
    if isinstance(layer, RotationLayer):
        return "OFT" if "oft_R" in layer.stored else None
    return layer.kind if isinstance(layer, Layer | HadamardLayer | KroneckerLayer) else None


def _magnitude(layer: AdapterLayer, dimensions: int) -> dict[str, Tensor]:
    shape = (1, -1, 1, 1) if dimensions == 4 else (-1,)
    dora = isinstance(layer, MagnitudeLayer)
    return {"lora_magnitude_vector.weight": layer.magnitude.reshape(shape)} if dora else {}


def _loha(found: Found) -> tuple[dict[str, dict[str, Tensor]], dict]:
    layers = {path: layer for path, layer in found.items() if isinstance(layer, HadamardLayer)}
    numbers = {path: (one.first.rank, one.scale * one.first.rank) for path, one in layers.items()}
    config = _numbers(numbers, "alpha") | {
        "peft_type": "LOHA",
        "use_effective_conv2d": any(one.first.core is not None for one in layers.values()),
    }
    return {path: _hadamard(layer) for path, layer in layers.items()}, config


def _lokr(found: Found, source: str) -> tuple[dict[str, dict[str, Tensor]], dict]:
    """Both factors whole: PEFT makes them so where the rank is not below their sizes."""
    layers = {path: layer for path, layer in found.items() if isinstance(layer, KroneckerLayer)}
    tensors, numbers = {}, {}
    sizes: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
    for path, layer in layers.items():
        first, second = layer.whole()
        tensors[path] = {"lokr_w1": first, "lokr_w2": second}
        rank = max(second.shape[:2])
        numbers[path] = (rank, layer.scale * rank)
        sizes[path] = ((first.shape[0], second.shape[0]), (first.shape[1], second.shape[1]))
    both = [size for pair in sizes.values() for size in pair]
    factor = next((one for one in (-1, *sorted({size[0] for size in both})) if _all_split(both, one)), None)
    if factor is None:
        path = next(iter(layers))
        raise _refused(source, path, layers[path], "whose sizes PEFT makes by no one decompose_factor")
    config = _numbers(numbers, "alpha") | {"peft_type": "LOKR", "decompose_both": False, "decompose_factor": factor}
    return tensors, config


def _oft(found: Found, source: str) -> tuple[dict[str, dict[str, Tensor]], dict]:
    layers = {path: layer for path, layer in found.items() if isinstance(layer, RotationLayer)}
    settings, size = next((one.settings, one.size) for one in layers.values())
    other = next((path for path, one in layers.items() if (one.settings, one.size) != (settings, size)), None)
    if settings is None or other is not None:
        path = other or next(iter(layers))
        raise _refused(source, path, layers[path], "with blocks of another size or making, of which PEFT has one")
    config = {
        "peft_type": "OFT",
        "peft_version": settings.version,
        "r": 0,
        "oft_block_size": size,
        "use_cayley_neumann": settings.series,
        "num_cayley_neumann_terms": settings.terms,
        "coft": settings.bound is not None,
        "block_share": settings.shared,
        "target_modules": sorted(layers),
    } | ({} if settings.bound is None else {"eps": settings.bound})
    return {path: {"oft_R.weight": layer.stored["oft_R"]} for path, layer in layers.items()}, config


def _all_split(sizes: Iterable[tuple[int, int]], factor: int) -> bool:
    return all(_split(one * two, factor) == (one, two) for one, two in sizes)


def _split(size: int, factor: int) -> tuple[int, int]:
    """The two sizes into which PEFT splits one: the factor where it divides it, else the divisor next below.

    That is the largest that is neither above the factor nor above the root; -1 sets no bound but the root.
    """
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    highest = math.isqrt(size) if factor < 0 else min(math.isqrt(size), factor)
    first = next(one for one in range(highest, 0, -1) if size % one == 0)
    return first, size // first


def _numbers(found: Mapping[str, tuple[int, float]], alpha: str) -> dict:
    """The fields of PEFT's configurations that give every layer its rank and alpha."""
    rank = _commonest(one for one, _ in found.values())
    strength = _commonest(one for _, one in found.values())
    return {
        "r": rank,
        alpha: strength,
        "rank_pattern": {path: one for path, (one, _) in found.items() if one != rank},
        "alpha_pattern": {path: one for path, (_, one) in found.items() if one != strength},
        "target_modules": sorted(found),
    }


def _hadamard(layer: HadamardLayer) -> dict[str, Tensor]:
    found = {}
    for place, one in enumerate((layer.first, layer.second), 1):
        found |= {f"hada_w{place}_a": one.a, f"hada_w{place}_b": one.b} | _given(f"hada_t{place}", one.core)
    return found


def _kronecker(layer: KroneckerLayer) -> dict[str, Tensor]:
    numbers, found = rank_and_alpha(layer), {}
    for place, one in enumerate(_parts(layer), 1):
        if isinstance(one, Factors):
            found |= {f"lokr_w{place}_a": one.a, f"lokr_w{place}_b": one.b} | _given(f"lokr_t{place}", one.core)
        else:
            # LyCORIS gives two whole factors the strength 1, whatever their alpha.
            plain = numbers is not None or place == 2 or layer.scale == 1
            found[f"lokr_w{place}"] = one if plain else layer.scale * one.float()
    return found | {"alpha": torch.tensor(1.0 if numbers is None else numbers[1])}


def _parts(layer: AdapterLayer) -> tuple[Tensor | Factors, ...]:
    return (layer.first, layer.second) if isinstance(layer, KroneckerLayer) else ()


def _given(name: str, tensor: Tensor | None) -> dict[str, Tensor]:
    return {} if tensor is None else {name: tensor}


def _refused(source: str, path: str, layer: AdapterLayer, why: str) -> BadInput:
    remedy = "merge it into the model" if "oft_R" in getattr(layer, "stored", {}) else "write it in kohya's layout"
    return BadInput(f"{source} changes {path} by a {layer.kind}, {why}; {remedy}")


def _commonest(values: Iterable) -> int | float:
    return Counter(values).most_common(1)[0][0]
