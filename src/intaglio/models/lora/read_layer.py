"""From the tensors that a file gives for one module to its layer, or to the reason that they make none.

A tensor's slot is what its key says of it: `down`, `up` and `mid` of a LoRA; `hada_w1_a` and the like of a LoHa;
`lokr_w1` and the like of a LoKr; `oft_R`, or `oft_blocks` and `rescale` of an OFT; `alpha`; `dora_scale` or
`lora_magnitude_vector` of a DoRA.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from intaglio.models.lora.adapter_layers import AdapterLayer, Layer
from intaglio.models.lora.dense_layers import Factors, HadamardLayer, KroneckerLayer, MagnitudeLayer, TuckerLayer
from intaglio.models.lora.rotation_layers import RotationSettings, read_rotation

Slots = Mapping[str, Tensor]
AlphaOf = Callable[[int | None], float]
"""The alpha of a layer of some rank; for None, of a layer without one, its scale itself."""
MAGNITUDES = ("dora_scale", "lora_magnitude_vector")
"""The slots of a DoRA's magnitudes, by the names of kohya and LyCORIS, and of PEFT."""


def read_layer(slots: Slots, alpha_of: AlphaOf, rotation: RotationSettings | None = None) -> AdapterLayer | str:
    """The layer that these tensors make together, or why they make none; `rotation` is what PEFT says of an OFT."""
    kinds = {slot.split("_")[0] for slot in slots if slot.startswith(("hada_", "lokr_", "oft_"))}
    if "rescale" in slots:
        kinds |= {"oft"}
    if not kinds or slots.keys() & {"down", "up", "mid"}:
        kinds |= {""}
    if len(kinds) > 1:
        return f"{' and '.join(sorted(_NAMES[kind] for kind in kinds))} in one layer are not supported"
    if "alpha" in slots and slots["alpha"].numel() != 1:
        return "its alpha is not one number"
    found = [slot for slot in MAGNITUDES if slot in slots]
    if len(found) > 1:
        return "its DoRA magnitude is there twice"
    if (kind := kinds.pop()) == "oft":
        return "DoRA of an OFT is not supported" if found else read_rotation(slots, rotation)
    layer = _READERS[kind](slots, alpha_of)
    if not found:
        return layer
    if isinstance(layer, str):
        return f"{layer} (of a DoRA)"
    return _with_magnitude(layer, found[0], slots[found[0]])


def _with_magnitude(layer: AdapterLayer, slot: str, magnitude: Tensor) -> AdapterLayer | str:
    # PEFT's magnitudes are of rows, also where they are stored [1, out, 1, 1] for a convolution.
    shape = tuple(magnitude.shape)
    of_rows = slot == "lora_magnitude_vector" or len(shape) < 2 or shape[0] > 1 or magnitude.numel() == 1
    if not shape or magnitude.numel() != max(shape):
        return f"its DoRA magnitude {shape} is no vector"
    return MagnitudeLayer(layer, magnitude.flatten(), of_rows, 4 if len(shape) == 4 else 2)


def _low_rank(slots: Slots, alpha_of: AlphaOf) -> AdapterLayer | str:
    for slot in ("down", "up"):
        if slot not in slots:
            return f"its {slot} weight is missing"
    down, up, mid = slots["down"], slots["up"], slots.get("mid")
    if down.ndim not in (2, 4) or up.ndim != down.ndim or up.shape[1] != (down if mid is None else mid).shape[0]:
        return f"down {tuple(down.shape)} and up {tuple(up.shape)} do not fit together{_core(mid)}"
    if 0 in (*down.shape, *up.shape):
        return f"down {tuple(down.shape)} and up {tuple(up.shape)} do not fit together"
    if up.ndim == 4 and up.shape[2:] != (1, 1):
        return f"up {tuple(up.shape)} is not a 1x1 convolution"
    if mid is None:
        return Layer(down, up, alpha_of(down.shape[0]))
    factors = Factors(up.flatten(1).T, down.flatten(1), mid)
    if not factors.fit() or down.shape[2:] not in ((), (1, 1)):
        return f"down {tuple(down.shape)} and up {tuple(up.shape)} do not fit together{_core(mid)}"
    return TuckerLayer(factors, alpha_of(factors.rank) / factors.rank)


def _core(mid: Tensor | None) -> str:
    return "" if mid is None else f" with the Tucker core lora_mid {tuple(mid.shape)}"


def _hadamard(slots: Slots, alpha_of: AlphaOf) -> AdapterLayer | str:
    if ("hada_t1" in slots) != ("hada_t2" in slots):
        return f"its {'hada_t2' if 'hada_t1' in slots else 'hada_t1'} is missing (a LoHa)"
    first, second = (_factors(slots, f"hada_w{k}", f"hada_t{k}", "LoHa") for k in (1, 2))
    if isinstance(first, str) or isinstance(second, str):
        return first if isinstance(first, str) else str(second)
    if first.shape != second.shape or first.rank != second.rank:
        ranks = f"ranks {first.rank} and {second.rank}"
        return f"its two factors have shapes {first.shape} and {second.shape}, {ranks} (a LoHa)"
    return HadamardLayer(first, second, alpha_of(first.rank) / first.rank)


def _kronecker(slots: Slots, alpha_of: AlphaOf) -> AdapterLayer | str:
    first, second = (_whole_or_factors(slots, f"lokr_w{k}") for k in (1, 2))
    if isinstance(first, str) or isinstance(second, str):
        return first if isinstance(first, str) else str(second)
    ranks = [one.rank for one in (first, second) if isinstance(one, Factors)]
    if len(set(ranks)) > 1:
        return f"its two factors have ranks {ranks[0]} and {ranks[1]} (a LoKr)"
    if len(first.shape) != 2 or len(second.shape) not in (2, 4) or 0 in (*first.shape, *second.shape):
        return f"its factors {tuple(first.shape)} and {tuple(second.shape)} make no weight (a LoKr)"
    return KroneckerLayer(first, second, alpha_of(ranks[0]) / ranks[0] if ranks else alpha_of(None))


def _whole_or_factors(slots: Slots, name: str) -> Tensor | Factors | str:
    core = name.replace("_w", "_t")
    if name not in slots:
        return _factors(slots, name, core, "LoKr")
    extra = next((slot for slot in (f"{name}_a", f"{name}_b", core) if slot in slots), None)
    return slots[name] if extra is None else f"its {name} is there whole and as {extra} (a LoKr)"


def _factors(slots: Slots, name: str, core: str, kind: str) -> Factors | str:
    for slot in (f"{name}_a", f"{name}_b"):
        if slot not in slots:
            return f"its {slot} is missing (a {kind})"
    factors = Factors(slots[f"{name}_a"], slots[f"{name}_b"], slots.get(core))
    if factors.fit():
        return factors
    shapes = " and ".join(str(tuple(tensor.shape)) for tensor in factors.tensors())
    return f"its {name} has factors {shapes}, which do not fit together (a {kind})"


_READERS = {"": _low_rank, "hada": _hadamard, "lokr": _kronecker}
_NAMES = {"": "LoRA", "hada": "LoHa", "lokr": "LoKr", "oft": "OFT"}
