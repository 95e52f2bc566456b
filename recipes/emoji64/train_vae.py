"""The autoencoder: 0.65 M parameters, pixels [3, 64, 64] to latents [4, 16, 16].

    python recipes/emoji64/train_vae.py --data FOLDER --out FOLDER

Twelve minutes on two cores. Loss: L1 + squared error + L1 of the finite differences (edges matter in flat
drawings) + a small KL to the unit normal. It sees the base's artists only, and every picture also mirrored.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch.nn.functional import l1_loss, mse_loss

from common import Checkpoint, Log, batch_at, generator_at, pictures


def build() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=64,
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[16, 32, 64],
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def edges(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return l1_loss(a.diff(dim=-1), b.diff(dim=-1)) + l1_loss(a.diff(dim=-2), b.diff(dim=-2))


def through(vae: AutoencoderKL, batch: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Posterior mean, log-variance and the reconstruction of one sample."""
    moments = vae.quant_conv(vae.encoder(batch))
    mean, logvar = moments.chunk(2, dim=1)
    logvar = logvar.clamp(-30, 20)
    out = vae.decoder(vae.post_quant_conv(mean + (0.5 * logvar).exp() * noise))
    return mean, logvar, out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--kl", type=float, default=1e-6, help="weight of the KL, summed over a picture's latents")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    vae = build()
    torch.nn.init.constant_(vae.quant_conv.bias[4:], -6.0)  # little noise at first, or the latents collapse
    optimizer = torch.optim.AdamW(vae.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=1e-4)
    checkpoint = Checkpoint(args.out / "vae.checkpoint.safetensors")
    first = checkpoint.restore({"vae": vae}, optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: min(1.0, (s + 1) / 300) * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * s / args.steps)).item()),
    )
    schedule.last_epoch = first
    data, heldout = pictures(args.data / "base.npz"), pictures(args.data / "heldout.npz")[::8]
    log = Log(args.out / "vae.jsonl", every=50)

    for step in range(first, args.steps):
        source = generator_at(step, args.seed)
        batch = data[batch_at(step, args.batch, len(data), args.seed)] / 127.5 - 1
        if torch.rand((), generator=source) < 0.5:
            batch = batch.flip(-1)
        noise = torch.randn(args.batch, 4, 16, 16, generator=source)
        mean, logvar, out = through(vae, batch, noise)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
        pull = args.kl * min(max(step - 500, 0) / 1000, 1)  # before the decoder reads latents, the KL would win
        loss = l1_loss(out, batch) + mse_loss(out, batch) + edges(out, batch) + pull * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        log(step, loss=loss.item(), kl=kl.item(), std=mean.std().item())
        if (step + 1) % 500 == 0:
            checkpoint.save(step + 1, {"vae": vae}, optimizer)

    vae.eval()
    with torch.no_grad():
        base = data[:: len(data) // 1000] / 127.5 - 1
        latents = torch.cat([vae.encode(x).latent_dist.mean for x in base.split(64)])
        vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
        for name, sample in (("base", base[:256]), ("heldout", heldout[:256] / 127.5 - 1)):
            back = torch.cat([vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1) for x in sample.split(64)])
            psnr = -10 * torch.log10(((back - sample) / 2).square().mean((1, 2, 3)).clamp_min(1e-10)).mean()
            pooled = -10 * torch.log10(mse_loss(back / 2, sample / 2))
            print(f"{name}: PSNR {psnr:.2f} dB a picture, {pooled:.2f} dB pooled")
    vae.save_pretrained(args.out / "vae")


if __name__ == "__main__":
    main()
