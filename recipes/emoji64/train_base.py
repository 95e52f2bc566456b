"""The base: a text encoder and a U-Net trained together on the latents of three artists.

    python recipes/emoji64/train_base.py --data FOLDER --out FOLDER

`--out` holds the autoencoder of `train_vae.py`. Every caption reads "NAME, ARTIST style"; one in ten is left
empty, for classifier-free guidance. The loss is the mean squared error of the noise, weighted by
min(SNR, 5) / SNR (arXiv 2303.09556), averaged into an exponential mean of the weights, which is what is shipped.
It resumes exactly where it was stopped. The result is a folder that diffusers' StableDiffusionPipeline loads.
`--without KIND` trains on the pictures that are surely of another kind, for benches of what a model cannot draw.
"""

import argparse
import copy
import json
import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from common import Checkpoint, Log, batch_at, generator_at, pictures
from train_classifier import UNKNOWN, labelled

LENGTH = 32
"""Tokens a caption, start and end included."""


def caption(name: str, artist: str) -> str:
    return f"{name}, {artist} style"


def shown(folder: Path, without: str | None) -> torch.Tensor:
    """bool [N]: pictures that the base learns from, all where no kind is withheld.

    Those of no known kind stay out beside the withheld one: some of them may be of it.
    """
    if without is None:
        return torch.ones(len(np.load(folder / "base.npz")["name"]), dtype=torch.bool)
    data = labelled(folder)
    kinds = data.classes["kind"]
    if without not in kinds:
        raise SystemExit(f"there is no kind {without!r}; choose from: {', '.join(kinds)}")
    kind = data.labels["kind"][: len(np.load(folder / "base.npz")["name"])]
    return (kind != kinds.index(without)) & (kind != UNKNOWN)


def train_tokenizer(captions: list[str]) -> CLIPTokenizer:
    """CLIP's byte-pair encoding, learned from the captions."""
    raw = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=2046,
            min_frequency=3,
            end_of_word_suffix="</w>",
            show_progress=False,
            initial_alphabet=sorted(alphabet),
        ),
    )
    learned = json.loads(raw.to_str())["model"]
    symbols = sorted(alphabet)
    vocab = {token: i for i, token in enumerate([*symbols, *(s + "</w>" for s in symbols)])}
    for pair in learned["merges"]:
        vocab.setdefault("".join(pair), len(vocab))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    merges = [tuple(pair) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH)


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=128,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """10.9 M parameters; no attention at 16x16, where it costs most and brings least."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
    )


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def encode(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        means = [vae.encode(x / 127.5 - 1).latent_dist.mean for x in pixels.split(64)]
    return torch.cat(means) * vae.config.scaling_factor


class Denoiser(torch.nn.Module):
    def __init__(self, text: CLIPTextModel, unet: UNet2DConditionModel):
        super().__init__()
        self.text, self.unet = text, unet

    def forward(self, noisy: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return self.unet(noisy, t, encoder_hidden_states=self.text(tokens)[0], return_dict=False)[0]


def weighted_error(out, noise, t, alphas_cumprod):
    """Mean over the batch of min(SNR, 5)/SNR * mean((out - noise)^2), and the unweighted mean."""
    snr = alphas_cumprod[t] / (1 - alphas_cumprod[t])
    error = (out.float() - noise).square().mean((1, 2, 3))
    return (error * snr.clamp(max=5) / snr).mean(), error.mean()


def draw(step: int, args, latents: torch.Tensor, tokens: torch.Tensor, empty: torch.Tensor):
    """One batch: latents, their captions' tokens (one in ten empty), timesteps and noise."""
    source = generator_at(step, args.seed)
    index = batch_at(step, args.batch, len(latents), args.seed)
    drop = torch.rand(args.batch, generator=source) < 0.1
    words = torch.where(drop[:, None], empty, tokens[index])
    t = torch.randint(0, 1000, (args.batch,), generator=source)
    return latents[index], words, t, torch.randn(latents[index].shape, generator=source)


@torch.no_grad()
def heldout_loss(model, latents, tokens, alphas_cumprod) -> float:
    """Unweighted loss on pictures that were kept back, at fixed timesteps and noise."""
    source = torch.Generator().manual_seed(7)
    t = torch.linspace(10, 990, len(latents)).long()[torch.randperm(len(latents), generator=source)]
    noise = torch.randn(latents.shape, generator=source)
    a = alphas_cumprod[t][:, None, None, None]
    noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
    out = torch.cat([model(*x) for x in zip(noisy.split(64), t.split(64), tokens.split(64), strict=True)])
    return (out - noise).square().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6800, help="at which the rate reaches its end")
    parser.add_argument("--until", type=int, help="stop and export here, a multiple of 500; none: at --steps")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--decay", type=float, default=0.999, help="of the exponential mean of the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", help="kind of pictures to withhold, such as Flags; none: learn from all")
    parser.add_argument("--export-only", action="store_true", help="write the pipeline of the checkpoint as it is")
    args = parser.parse_args()

    data = np.load(args.data / "base.npz")
    chosen = shown(args.data, args.without)
    captions = [caption(n, a) for n, a, c in zip(data["name"], data["artist"], chosen, strict=True) if c]
    tokenizer = train_tokenizer(captions)
    vae = AutoencoderKL.from_pretrained(args.out / "vae").eval()
    torch.manual_seed(args.seed)
    model = Denoiser(build_text_encoder(tokenizer), build_unet())
    mean = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=1e-2)
    checkpoint = Checkpoint(args.out / "base.checkpoint.safetensors")
    first = checkpoint.restore({"model": model, "mean": mean}, optimizer)
    if not args.export_only:
        latents = encode(vae, pictures(args.data / "base.npz")[chosen])
        train(args, first, model, mean, optimizer, checkpoint, latents, tokenizer, captions)
    export(args.out / "emoji64", mean, vae, tokenizer)


def train(args, first, model, mean, optimizer, checkpoint, latents, tokenizer, captions) -> None:
    def tokenized(texts: list[str]) -> torch.Tensor:
        return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids

    tokens, empty = tokenized(captions), tokenized([""])
    kept = torch.zeros(len(latents), dtype=torch.bool)
    kept[torch.randperm(len(latents), generator=torch.Generator().manual_seed(5))[:256]] = True
    back = (latents[kept], tokens[kept])
    latents, tokens = latents[~kept], tokens[~kept]
    alphas_cumprod = scheduler().alphas_cumprod
    log = Log(args.out / "base.jsonl", every=50)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens", flush=True)

    for step in range(first, args.until or args.steps):
        rate = args.rate * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = max(rate, 1e-6)
        clean, words, t, noise = draw(step, args, latents, tokens, empty)
        a = alphas_cumprod[t][:, None, None, None]
        out = model(a.sqrt() * clean + (1 - a).sqrt() * noise, t, words)
        loss, plain = weighted_error(out, noise, t, alphas_cumprod)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay = min(args.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(mean.parameters()), [p.detach() for p in model.parameters()], 1 - decay)
        numbers = {"loss": plain.item(), "weighted": loss.item()}
        if (step + 1) % 500 == 0:
            numbers["heldout"] = heldout_loss(mean, *back, alphas_cumprod) * log.every
            checkpoint.save(step + 1, {"model": model, "mean": mean}, optimizer)
        log(step, **numbers)


def export(folder: Path, mean: Denoiser, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> None:
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=mean.text,
        tokenizer=tokenizer,
        unet=mean.unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    print(folder)


if __name__ == "__main__":
    main()
