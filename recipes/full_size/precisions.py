"""Layers and a whole call of a U-Net of Stable Diffusion 1.5's size, in several precisions and kernels of torch.

    python recipes/full_size/precisions.py [--device cuda] [--unet]

Medians of fifty calls after five, in milliseconds; the linear layer is 320 to 1280 numbers at 4096 places, the
convolution 3x3 of 320 channels at 64x64, and with --unet a call of the denoiser for two latents of 64x64. `error` is
the norm of the difference from float32 over its norm. int8 and int4 hold weights alone, but for `int8 both`, whose
inputs are int8 too. `graph` replays the call as a CUDA graph. A kernel that this build lacks says why.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from random_model import UNETS
from torch import Tensor

CALLS, WARM = 50, 5
ROWS, WIDE_IN, WIDE_OUT, SIDE = 4096, 320, 1280, 64
GROUP = 64
"""Numbers of a row of int4 weights that share a scale."""
HALF = (torch.float16, torch.bfloat16)
Call = Callable[[], Tensor]


def milliseconds(call: Call, device: str) -> float:
    """Median time of a call."""
    times = []
    for place in range(WARM + CALLS):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        if place >= WARM:
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def graphed(call: Call) -> Call:
    """The call, captured once and replayed."""
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):
        call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def show(name: str, make: Callable[[], Call], wanted: Tensor, device: str) -> None:
    """A line of one kernel: its time and error, or why it cannot be run."""
    try:
        call = make()
        found = call().float()
        error = float((found - wanted).norm() / wanted.norm())
        print(f"  {name:<28} {milliseconds(call, device):>9.3f} ms   error {error:.1e}", flush=True)
    except (RuntimeError, NotImplementedError, AttributeError, AssertionError, TypeError) as reason:
        print(f"  {name:<28} not here: {str(reason).splitlines()[0][:90]}", flush=True)


def linear(device: str) -> None:
    """The linear layer."""
    x, w = torch.randn(ROWS, WIDE_IN, device=device), torch.randn(WIDE_OUT, WIDE_IN, device=device) / WIDE_IN**0.5
    wanted = x @ w.T
    print(f"linear {WIDE_IN} to {WIDE_OUT}, {ROWS} places")
    show("float32", lambda: lambda: x @ w.T, wanted, device)
    for dtype in HALF:
        coarse, weight = x.to(dtype), w.to(dtype)
        show(_name(dtype), lambda a=coarse, b=weight: lambda: a @ b.T, wanted, device)
    show("int8 weights, bfloat16", lambda: int8_weights(x, w), wanted, device)
    show("int8 weights, made bfloat16", lambda: dequantised(x, w), wanted, device)
    show("int8 both", lambda: int8_both(x, w), wanted, device)
    show("int4 weights, bfloat16", lambda: int4_weights(x, w), wanted, device)


def _rows_int8(values: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers in -127..127, and the scale of each row."""
    scale = values.abs().amax(1, keepdim=True) / 127
    return (values / scale).round().to(torch.int8), scale


def int8_weights(x: Tensor, w: Tensor) -> Call:
    """torch's kernel of int8 weights and inputs of 16 bits."""
    held, scale = _rows_int8(w)
    coarse, scales = x.bfloat16(), scale[:, 0].bfloat16()
    return lambda: torch._weight_int8pack_mm(coarse, held, scales)


def dequantised(x: Tensor, w: Tensor) -> Call:
    """int8 weights that are multiplied out before each product."""
    held, scale = _rows_int8(w)
    coarse, scales = x.bfloat16(), scale.bfloat16()
    return lambda: coarse @ (held.bfloat16() * scales).T


def int8_both(x: Tensor, w: Tensor) -> Call:
    """Products of int8 numbers; the inputs are rounded in each call."""
    held, scale = _rows_int8(w)
    transposed = held.T

    def call() -> Tensor:
        rows, own = _rows_int8(x)
        return torch._int_mm(rows, transposed).float() * own * scale.T

    return call


def int4_weights(x: Tensor, w: Tensor) -> Call:
    """torch's kernel of int4 weights in groups with a scale and a least value each."""
    groups = w.view(len(w), -1, GROUP)
    least, most = groups.amin(2), groups.amax(2)
    scale = (most - least) / 15
    codes = ((groups - least[..., None]) / scale[..., None]).round().clamp(0, 15).to(torch.int32).flatten(1)
    packed = torch._convert_weight_to_int4pack((codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8), 8)
    around = torch.stack([scale, least + 8 * scale], 2).transpose(0, 1).contiguous().bfloat16()
    coarse = x.bfloat16()
    return lambda: torch._weight_int4pack_mm(coarse, packed, GROUP, around)


def convolution(device: str) -> None:
    """The convolution."""
    x = torch.randn(2, WIDE_IN, SIDE, SIDE, device=device)
    layer = torch.nn.Conv2d(WIDE_IN, WIDE_IN, 3, padding=1, device=device)
    in_precisions(f"convolution 3x3, {WIDE_IN} channels, {SIDE}x{SIDE}, 2 rows", layer, (x,), device)


@torch.no_grad()
def unet(device: str) -> None:
    """The denoiser, without and with a graph."""
    with torch.device(device):
        model = UNet2DConditionModel(sample_size=SIDE, **UNETS["sd15"]).eval()
        given = torch.randn(2, 4, SIDE, SIDE), torch.tensor([500, 500]), torch.randn(2, 77, 768)
    in_precisions("U-Net, 2 rows", model, given, device)


def in_precisions(title: str, layer: torch.nn.Module, given: tuple[Tensor, ...], device: str) -> None:
    """Lines of a module in every precision and layout, each by itself and as a graph."""
    wanted = _answer(layer, given).float().clone()
    print(title)
    for dtype in (torch.float32, *HALF):
        for layout in (torch.contiguous_format, torch.channels_last):
            layer.to(dtype=dtype, memory_format=layout)
            inputs = [one.to(dtype) if one.is_floating_point() else one for one in given]
            inputs[0] = inputs[0].to(memory_format=layout)
            name = _name(dtype) + (", channels last" if layout is torch.channels_last else "")
            show(name, lambda a=inputs: lambda: _answer(layer, a), wanted, device)
            show(f"{name}, graph", lambda a=inputs: graphed(lambda: _answer(layer, a)), wanted, device)


@torch.no_grad()
def _answer(layer: torch.nn.Module, given: "tuple[Tensor, ...] | list[Tensor]") -> Tensor:
    found = layer(*given)
    return found if isinstance(found, Tensor) else found.sample


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--unet", action="store_true", help="a call of the whole denoiser too")
    args = parser.parse_args()
    torch.manual_seed(0)
    linear(args.device)
    convolution(args.device)
    if args.unet:
        unet(args.device)


if __name__ == "__main__":
    main()
