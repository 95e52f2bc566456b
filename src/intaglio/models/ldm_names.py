"""Module names of the original latent-diffusion code, from those of diffusers.

The original U-Net numbers its blocks (`input_blocks.4.1`), diffusers nests them (`down_blocks.1.attentions.0`).
Single-file checkpoints and SDXL adapters of the kohya kind use the original names.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TOP = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(r"(down_blocks\.(\d+)|mid_block|up_blocks\.(\d+))\.(\w+)\.(\d+)\.?(.*)")

_AUTOENCODER = (
    (re.compile(r"^(encoder\.)down_blocks\.(\d+)\.resnets\."), r"\1down.\2.block."),
    (re.compile(r"^(encoder\.)down_blocks\.(\d+)\.downsamplers\.0\."), r"\1down.\2.downsample."),
    (re.compile(r"^(decoder\.)up_blocks\.(\d+)\.resnets\."), r"\1up.\2.block."),
    (re.compile(r"^(decoder\.)up_blocks\.(\d+)\.upsamplers\.0\."), r"\1up.\2.upsample."),
    (re.compile(r"\.mid_block\.attentions\.0\.group_norm\."), ".mid.attn_1.norm."),
    (re.compile(r"\.mid_block\.attentions\.0\.to_([qkv])\."), r".mid.attn_1.\1."),
    (re.compile(r"\.mid_block\.attentions\.0\.to_out\.0\."), ".mid.attn_1.proj_out."),
    (re.compile(r"\.conv_norm_out\."), ".norm_out."),
    (re.compile(r"\.conv_shortcut\."), ".nin_shortcut."),
)

_OPEN_CLIP = (
    (re.compile(r"^embeddings\.token_embedding\."), "token_embedding."),
    (re.compile(r"^embeddings\.position_embedding\.weight$"), "positional_embedding"),
    (re.compile(r"^encoder\.layers\.(\d+)\.layer_norm([12])\."), r"transformer.resblocks.\1.ln_\2."),
    (re.compile(r"^encoder\.layers\.(\d+)\.mlp\.fc1\."), r"transformer.resblocks.\1.mlp.c_fc."),
    (re.compile(r"^encoder\.layers\.(\d+)\.mlp\.fc2\."), r"transformer.resblocks.\1.mlp.c_proj."),
    (re.compile(r"^encoder\.layers\.(\d+)\.self_attn\.out_proj\."), r"transformer.resblocks.\1.attn.out_proj."),
    (re.compile(r"^encoder\.layers\.(\d+)\.self_attn\.[qkv]_proj\."), r"transformer.resblocks.\1.attn.in_proj_"),
    (re.compile(r"^final_layer_norm\."), "ln_final."),
    (re.compile(r"^text_projection\.weight$"), "text_projection"),
)


@dataclass(frozen=True)
class UNetLayout:
    """The two facts of a U-Net that the original numbering of its blocks follows from."""

    layers: int
    """Residual layers of a down block; an up block has one more."""
    attended: frozenset[str]
    """Indices of the up blocks with attention, as text."""

    @classmethod
    def of(cls, names: Iterable[str]) -> "UNetLayout":
        """The layout of a U-Net with these module or parameter names (diffusers naming)."""
        names = list(names)
        layers = {found.group(1) for name in names if (found := re.match(r"down_blocks\.0\.resnets\.(\d+)", name))}
        attended = {found.group(1) for name in names if (found := re.match(r"up_blocks\.(\d+)\.attentions\.", name))}
        return cls(len(layers), frozenset(attended))

    def original(self, name: str) -> str:
        """The original name of a module or parameter of the U-Net, or `name` itself where it has none."""
        for top, original in _TOP.items():
            if name == top or name.startswith(top + "."):
                return original + name[len(top) :]
        found = _BLOCK.fullmatch(name)
        return name if found is None else self._in_block(*found.groups())

    def _in_block(self, block: str, down: str | None, up: str | None, kind: str, index: str, rest: str) -> str:
        if kind == "resnets":
            head, _, tail = rest.partition(".")
            rest = ".".join(part for part in (_RESNET.get(head, head), tail) if part)
        if kind == "downsamplers":
            rest = rest.replace("conv", "op", 1)
        return ".".join(part for part in (self._block_name(block, down, up, kind, int(index)), rest) if part)

    def _block_name(self, block: str, down: str | None, up: str | None, kind: str, index: int) -> str:
        sub = 1 if kind == "attentions" else 0
        if down is not None:
            step = self.layers if kind == "downsamplers" else index
            return f"input_blocks.{1 + int(down) * (self.layers + 1) + step}.{sub}"
        if up is not None:
            if kind == "upsamplers":
                index, sub = self.layers, 2 if up in self.attended else 1
            return f"output_blocks.{int(up) * (self.layers + 1) + index}.{sub}"
        return f"middle_block.{2 * index + sub}"


def autoencoder_name(name: str, levels: int) -> str:
    """The original name of a parameter of an `AutoencoderKL` with `levels` resolutions.

    The original decoder counts its levels from the finest, diffusers from the coarsest.
    """
    name = re.sub(r"\.mid_block\.resnets\.(\d+)\.", lambda found: f".mid.block_{int(found.group(1)) + 1}.", name)
    name = re.sub(r"\bup_blocks\.(\d+)", lambda found: f"up_blocks.{levels - 1 - int(found.group(1))}", name)
    for pattern, original in _AUTOENCODER:
        name = pattern.sub(original, name)
    return name


def open_clip_name(name: str) -> str:
    """The OpenCLIP name of a parameter of a CLIP text encoder, named without its `text_model.` prefix.

    The query, key and value matrices share one OpenCLIP parameter, in that order along its rows.
    """
    for pattern, original in _OPEN_CLIP:
        name = pattern.sub(original, name)
    return name
