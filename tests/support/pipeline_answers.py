"""What pipelines of diffusers draw, embed and predict, each asked in its own way, for tests of families."""

import inspect
from typing import Any, Protocol

import torch


class Answers(Protocol):
    """The ways to ask a kind of pipeline. Latents are [n, c, h, w] in and out."""

    def embedded(self, pipe: Any, prompts: list[str]) -> dict[str, torch.Tensor]:
        """Columns of the conditioning."""
        ...

    def output(self, pipe: Any, latents: torch.Tensor, t: torch.Tensor, given: Any) -> torch.Tensor:
        """The network's output at timesteps."""
        ...


class PixArtAnswers:
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


class ChromaAnswers:
    def embedded(self, pipe, prompts):
        hidden, _, mask, *_ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False)
        return {"hidden": hidden, "mask": mask.bool()}

    def output(self, pipe, latents, t, given):
        n, c, h, w = latents.shape
        mask = pipe._prepare_attention_mask(n, h * w // 4, torch.float32, given.mask.float())
        found = pipe.transformer(
            pipe._pack_latents(latents, n, c, h, w),
            given.hidden,
            (t + 1) / 1000,
            pipe._prepare_latent_image_ids(n, h // 2, w // 2, "cpu", torch.float32),
            torch.zeros(given.hidden.shape[1], 3),
            mask,
            return_dict=False,
        )[0]
        return pipe._unpack_latents(found, 2 * h, 2 * w, pipe.vae_scale_factor)


class QwenAnswers:
    def embedded(self, pipe, prompts):
        hidden, mask = pipe.encode_prompt(prompts)
        return {"hidden": hidden, "mask": mask.bool()}

    def output(self, pipe, latents, t, given):
        n, c, h, w = latents.shape
        found = pipe.transformer(
            pipe._pack_latents(latents, n, c, h, w),
            given.hidden,
            given.mask,
            (t + 1) / 1000,
            [[(1, h // 2, w // 2)]] * n,
            return_dict=False,
        )[0]
        return pipe._unpack_latents(found, 2 * h, 2 * w, pipe.vae_scale_factor)[:, :, 0]


class LuminaAnswers:
    def embedded(self, pipe, prompts):
        hidden, mask, _, _ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False)
        return {"hidden": hidden, "mask": mask.bool()}

    def output(self, pipe, latents, t, given):
        return -pipe.transformer(latents, 1 - (t + 1) / 1000, given.hidden, given.mask, return_dict=False)[0]


class AuraFlowAnswers:
    def embedded(self, pipe, prompts):
        return {"hidden": pipe.encode_prompt(prompts, do_classifier_free_guidance=False)[0]}

    def output(self, pipe, latents, t, given):
        return pipe.transformer(latents, given.hidden, (t + 1) / 1000, return_dict=False)[0]


class SanaAnswers:
    def embedded(self, pipe, prompts):
        instruction = inspect.signature(pipe.__call__).parameters["complex_human_instruction"].default
        about = {"do_classifier_free_guidance": False, "complex_human_instruction": instruction}
        hidden, mask, _, _ = pipe.encode_prompt(prompts, **about)
        return {"hidden": hidden, "mask": mask.bool()}

    def output(self, pipe, latents, t, given):
        told = (t + 1).round()
        mask = given.mask.float()
        return pipe.transformer(latents, given.hidden, told, encoder_attention_mask=mask, return_dict=False)[0]


class Flux2DevAnswers:
    def embedded(self, pipe, prompts):
        return {"hidden": pipe.encode_prompt(prompts)[0]}

    def output(self, pipe, latents, t, given):
        ids = {"txt_ids": pipe._prepare_text_ids(given.hidden), "img_ids": pipe._prepare_latent_ids(latents)}
        rows, scales = latents.flatten(2).mT, torch.ones(len(latents))
        found = pipe.transformer(rows, given.hidden, (t + 1) / 1000, guidance=scales, **ids).sample
        return found.mT.reshape(latents.shape)


ANSWERS: dict[str, Answers] = {
    "chroma": ChromaAnswers(),
    "qwen-image": QwenAnswers(),
    "pixart-sigma": PixArtAnswers(),
    "lumina2": LuminaAnswers(),
    "auraflow": AuraFlowAnswers(),
    "sana": SanaAnswers(),
    "flux2-dev": Flux2DevAnswers(),
}
"""By kind of `random_pipelines`."""
