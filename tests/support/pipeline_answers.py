"""What pipelines of diffusers draw, embed and predict, each asked in its own way, for tests of families."""

from typing import Any, Protocol

import torch

import tiny


class Answers(Protocol):
    """The ways to ask a kind of pipeline. Latents are [n, c, h, w] in and out."""

    def drawn(self, pipe: Any, prompts: list[str], latents: torch.Tensor, steps: int, scale: float) -> torch.Tensor:
        """Clean latents of pictures of the pipeline's own size; the negative prompt is empty."""
        ...

    def embedded(self, pipe: Any, prompts: list[str]) -> dict[str, torch.Tensor]:
        """Columns of the conditioning."""
        ...

    def output(self, pipe: Any, latents: torch.Tensor, t: torch.Tensor, given: Any) -> torch.Tensor:
        """The network's output at timesteps."""
        ...


class PixArtAnswers:
    def drawn(self, pipe, prompts, latents, steps, scale):
        side = {"height": tiny.RESOLUTION, "width": tiny.RESOLUTION, "use_resolution_binning": False}
        given = {"num_inference_steps": steps, "guidance_scale": scale, "output_type": "latent"}
        return pipe(prompts, latents=latents, clean_caption=False, **side, **given).images

    def embedded(self, pipe, prompts):
        hidden, mask, _, _ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False)
        return {"hidden": hidden, "mask": mask.bool()}

    def output(self, pipe, latents, t, given):
        found = pipe.transformer(
            latents,
            given.hidden,
            t,
            {"resolution": None, "aspect_ratio": None},
            encoder_attention_mask=given.mask.float(),
            return_dict=False,
        )[0]
        return found[:, : latents.shape[1]]


ANSWERS: dict[str, Answers] = {"pixart-sigma": PixArtAnswers()}
"""By kind of `tiny_transformers`."""
