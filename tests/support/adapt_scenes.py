"""Small training sets and models for the tests of this room."""

import torch
from diffusers import UNet2DConditionModel

import tiny
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.tuned import FineTuned
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def model(seed: int = 0, kind: str = "sd", prediction: str = "epsilon") -> LatentDiffusion:
    pipeline = {"sd": tiny.sd_pipeline, "sdxl": tiny.sdxl_pipeline}[kind](seed, prediction)
    texts = [pipeline.text_encoder] + ([pipeline.text_encoder_2] if kind == "sdxl" else [])
    words = [pipeline.tokenizer] + ([pipeline.tokenizer_2] if kind == "sdxl" else [])
    return LatentDiffusion(
        denoiser=pipeline.unet,
        autoencoder=pipeline.vae,
        text_encoders=texts,
        tokenizers=words,
        scheduler=dict(pipeline.scheduler.config),
        name="tiny",
    )


def training_set(count: int = 3, classes: int = 0, captions=None) -> TrainingSet:
    images = ImageSet.from_pixels(tiny.pixels(count), captions=captions)
    if not classes:
        return TrainingSet(images, "red cat")
    return TrainingSet(images, "red cat", ImageSet.from_pixels(tiny.pixels(classes, seed=9)), "cat")


def weights(model: LatentDiffusion) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{path}": tensor.clone()
        for name, part in model.parts.items()
        for path, tensor in part.state_dict().items()
    }


def learned(result: FineTuned) -> dict[str, torch.Tensor]:
    """The trained weights of a result: the adapter's, or all of the model's."""
    if result.adapter is None:
        return weights(result.model)
    return {
        f"{part}.{path}.{name}": getattr(layer, name).detach()
        for part, path, layer in result.adapter.items()
        for name in ("down", "up")
    }


def stable_diffusion_1() -> UNet2DConditionModel:
    """Stable Diffusion 1's denoiser, shapes without numbers."""
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=768,
            attention_head_dim=8,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=2,
        )


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
