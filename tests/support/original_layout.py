"""The original latent-diffusion networks as {parameter name: shape}, written from the description of the architecture.

Knows nothing of diffusers or of Intaglio, so that it can judge both. `data/` holds what it says of Stable Diffusion
1.5; that was found equal, name by name and shape by shape, to a public listing of the released checkpoint.
"""

from dataclasses import dataclass

Shapes = dict[str, list[int]]


def layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": [*shape], **({f"{name}.bias": [shape[0]]} if bias else {})}


def attention(name: str, width: int, context: int) -> Shapes:
    made: Shapes = {}
    for letter, source in (("q", width), ("k", context), ("v", context)):
        made |= layer(f"{name}.to_{letter}", width, source, bias=False)
    return made | layer(f"{name}.to_out.0", width, width)


@dataclass(frozen=True)
class UNet:
    """Defaults: Stable Diffusion 1.x. `depths` are transformer layers at each level; 0: no attention there."""

    width: int = 320
    multiples: tuple[int, ...] = (1, 2, 4, 4)
    depths: tuple[int, ...] = (1, 1, 1, 0)
    middle: int = 1
    layers: int = 2
    context: int = 768
    linear: bool = False  # projections into transformers are matrices, not 1x1 convolutions
    label: int = 0  # width of the vector of size and pooled text
    channels: int = 4

    def resnet(self, name: str, source: int, width: int) -> Shapes:
        made = layer(f"{name}.in_layers.0", source) | layer(f"{name}.in_layers.2", width, source, 3, 3)
        made |= layer(f"{name}.emb_layers.1", width, 4 * self.width)
        made |= layer(f"{name}.out_layers.0", width) | layer(f"{name}.out_layers.3", width, width, 3, 3)
        return made | (layer(f"{name}.skip_connection", width, source, 1, 1) if source != width else {})

    def transformer(self, name: str, width: int, depth: int) -> Shapes:
        one = () if self.linear else (1, 1)
        made = layer(f"{name}.norm", width) | layer(f"{name}.proj_in", width, width, *one)
        made |= layer(f"{name}.proj_out", width, width, *one)
        for block in (f"{name}.transformer_blocks.{number}" for number in range(depth)):
            made |= attention(f"{block}.attn1", width, width) | attention(f"{block}.attn2", width, self.context)
            made |= layer(f"{block}.ff.net.0.proj", 8 * width, width) | layer(f"{block}.ff.net.2", width, 4 * width)
            for norm in ("norm1", "norm2", "norm3"):
                made |= layer(f"{block}.{norm}", width)
        return made

    def shapes(self) -> Shapes:
        time, widths = 4 * self.width, [multiple * self.width for multiple in self.multiples]
        made = layer("time_embed.0", time, self.width) | layer("time_embed.2", time, time)
        if self.label:
            made |= layer("label_emb.0.0", time, self.label) | layer("label_emb.0.2", time, time)
        made |= layer("input_blocks.0.0", self.width, self.channels, 3, 3)
        skips, current, number = [self.width], self.width, 1
        for level, (width, depth) in enumerate(zip(widths, self.depths, strict=True)):
            for _ in range(self.layers):
                made |= self.resnet(f"input_blocks.{number}.0", current, width)
                made |= self.transformer(f"input_blocks.{number}.1", width, depth) if depth else {}
                current, number = width, number + 1
                skips.append(current)
            if level < len(widths) - 1:
                made |= layer(f"input_blocks.{number}.0.op", current, current, 3, 3)
                number += 1
                skips.append(current)
        for place in (0, 2):
            made |= self.resnet(f"middle_block.{place}", current, current)
        made |= self.transformer("middle_block.1", current, self.middle)
        number = 0
        for level, (width, depth) in reversed(list(enumerate(zip(widths, self.depths, strict=True)))):
            for step in range(self.layers + 1):
                made |= self.resnet(f"output_blocks.{number}.0", current + skips.pop(), width)
                made |= self.transformer(f"output_blocks.{number}.1", width, depth) if depth else {}
                current = width
                if level and step == self.layers:
                    made |= layer(f"output_blocks.{number}.{2 if depth else 1}.conv", width, width, 3, 3)
                number += 1
        return made | layer("out.0", self.width) | layer("out.2", self.channels, self.width, 3, 3)


@dataclass(frozen=True)
class Autoencoder:
    """Defaults: that of every Stable Diffusion up to XL."""

    width: int = 128
    multiples: tuple[int, ...] = (1, 2, 4, 4)
    layers: int = 2
    latent: int = 4
    attended: bool = True  # the middle holds attention

    def resnet(self, name: str, source: int, width: int) -> Shapes:
        made = layer(f"{name}.norm1", source) | layer(f"{name}.conv1", width, source, 3, 3)
        made |= layer(f"{name}.norm2", width) | layer(f"{name}.conv2", width, width, 3, 3)
        return made | (layer(f"{name}.nin_shortcut", width, source, 1, 1) if source != width else {})

    def middle(self, name: str, width: int) -> Shapes:
        made = self.resnet(f"{name}.block_1", width, width) | self.resnet(f"{name}.block_2", width, width)
        if self.attended:
            made |= layer(f"{name}.attn_1.norm", width)
            for part in ("q", "k", "v", "proj_out"):
                made |= layer(f"{name}.attn_1.{part}", width, width, 1, 1)
        return made

    def shapes(self) -> Shapes:
        widths = [multiple * self.width for multiple in self.multiples]
        made, current = layer("encoder.conv_in", self.width, 3, 3, 3), self.width
        for level, width in enumerate(widths):
            for step in range(self.layers):
                made |= self.resnet(f"encoder.down.{level}.block.{step}", current, width)
                current = width
            if level < len(widths) - 1:
                made |= layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
        made |= self.middle("encoder.mid", current) | layer("encoder.norm_out", current)
        made |= layer("encoder.conv_out", 2 * self.latent, current, 3, 3)
        made |= layer("quant_conv", 2 * self.latent, 2 * self.latent, 1, 1)
        made |= layer("post_quant_conv", self.latent, self.latent, 1, 1)
        made |= layer("decoder.conv_in", current, self.latent, 3, 3) | self.middle("decoder.mid", current)
        for level, width in reversed(list(enumerate(widths))):
            for step in range(self.layers + 1):
                made |= self.resnet(f"decoder.up.{level}.block.{step}", current, width)
                current = width
            if level:
                made |= layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
        return made | layer("decoder.norm_out", current) | layer("decoder.conv_out", 3, current, 3, 3)


@dataclass(frozen=True)
class Clip:
    """The text half of CLIP ViT-L/14 in the naming of transformers, or others in that of OpenCLIP."""

    width: int = 768
    layers: int = 12
    words: int = 49408
    length: int = 77
    inner: int = 4  # the width within the perceptrons, in multiples

    def shapes(self) -> Shapes:
        made = {
            "embeddings.position_ids": [1, self.length],
            "embeddings.token_embedding.weight": [self.words, self.width],
        }
        made["embeddings.position_embedding.weight"] = [self.length, self.width]
        for block in (f"encoder.layers.{number}" for number in range(self.layers)):
            for part in ("q", "k", "v", "out"):
                made |= layer(f"{block}.self_attn.{part}_proj", self.width, self.width)
            made |= layer(f"{block}.layer_norm1", self.width) | layer(f"{block}.layer_norm2", self.width)
            made |= layer(f"{block}.mlp.fc1", self.inner * self.width, self.width)
            made |= layer(f"{block}.mlp.fc2", self.width, self.inner * self.width)
        return made | layer("final_layer_norm", self.width)

    def open_shapes(self) -> Shapes:
        made = {"positional_embedding": [self.length, self.width], "token_embedding.weight": [self.words, self.width]}
        made |= {"text_projection": [self.width, self.width], "logit_scale": []}
        for block in (f"transformer.resblocks.{number}" for number in range(self.layers)):
            made |= {f"{block}.attn.in_proj_weight": [3 * self.width, self.width]}
            made |= {f"{block}.attn.in_proj_bias": [3 * self.width]}
            made |= layer(f"{block}.attn.out_proj", self.width, self.width)
            made |= layer(f"{block}.ln_1", self.width) | layer(f"{block}.ln_2", self.width)
            made |= layer(f"{block}.mlp.c_fc", self.inner * self.width, self.width)
            made |= layer(f"{block}.mlp.c_proj", self.width, self.inner * self.width)
        return made | layer("ln_final", self.width)


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def sd1(unet: UNet = UNet(), vae: Autoencoder = Autoencoder(), text: Clip = Clip()) -> Shapes:
    made = under("model.diffusion_model.", unet.shapes()) | under("first_stage_model.", vae.shapes())
    return made | under("cond_stage_model.transformer.text_model.", text.shapes())


def sd2(
    unet: UNet = UNet(context=1024, linear=True), vae: Autoencoder = Autoencoder(), text: Clip = Clip(1024, 24)
) -> Shapes:
    made = under("model.diffusion_model.", unet.shapes()) | under("first_stage_model.", vae.shapes())
    return made | under("cond_stage_model.model.", text.open_shapes())


def sdxl(
    unet: UNet = UNet(320, (1, 2, 4), (0, 2, 10), 10, 2, 2048, True, 2816),
    vae: Autoencoder = Autoencoder(),
    text: Clip = Clip(),
    text_2: Clip = Clip(1280, 32),
) -> Shapes:
    made = under("model.diffusion_model.", unet.shapes()) | under("first_stage_model.", vae.shapes())
    made |= under("conditioner.embedders.0.transformer.text_model.", text.shapes())
    return made | under("conditioner.embedders.1.model.", text_2.open_shapes())


def kohya_sd1(rank: int = 8) -> Shapes:
    """The adapter that sd-scripts makes of Stable Diffusion 1.x by default: every matrix of every transformer.

    It names blocks as diffusers does, counted here from the levels: two attentions a level down, three up.
    """
    made: Shapes = {}
    blocks = [(f"down_blocks_{level}_attentions_{number}", level) for level in range(3) for number in range(2)]
    blocks += [("mid_block_attentions_0", 3)]
    blocks += [(f"up_blocks_{3 - level}_attentions_{number}", level) for level in range(3) for number in range(3)]
    for block, level in blocks:
        width = 320 * (1, 2, 4, 4)[level]
        inner = UNet().transformer("x", width, 1)
        for name, shape in inner.items():
            if len(shape) > 1:
                made |= adapter(f"lora_unet_{block}{name.removeprefix('x').replace('.', '_')}", shape, rank)
    for name, shape in Clip().shapes().items():
        if len(shape) > 1 and "encoder" in name:
            made |= adapter(f"lora_te_text_model_{name.replace('.', '_')}", shape, rank)
    return made


def adapter(name: str, shape: list[int], rank: int) -> Shapes:
    name, (out, *inner) = name.removesuffix("_weight"), shape
    up = [out, rank, *(1 for _ in inner[1:])]
    return {f"{name}.lora_down.weight": [rank, *inner], f"{name}.lora_up.weight": up, f"{name}.alpha": []}
