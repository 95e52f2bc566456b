"""The card that travels with tuned weights: what they are, from what, made how, under which licence."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import intaglio
from intaglio.adapt.corruption import stages
from intaglio.adapt.data import content_hash, repeated
from intaglio.images.image_set import ImageSet

if TYPE_CHECKING:
    from intaglio.adapt.tuned import FineTuned


def card(result: "FineTuned", *, name: str, weights: str, pictures: Sequence[str]) -> str:
    """Markdown with the front matter that model hubs read; `pictures` are links relative to the card."""
    data, settings, adapter = result.data, result.settings, result.adapter
    kind = "LoRA adapter" if adapter is not None else "model with all weights tuned"
    tags = ["text-to-image", "lora"] if adapter is not None else ["text-to-image", "dreambooth"]
    lines = [
        "---",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "---",
        "",
        f"# {name}",
        "",
        f"A {kind}, in `{weights}`.",
        "",
        f"- Base: {result.base} (fingerprint `{result.base_fingerprint}`)",
        "- Licence: inherits the base's; the pictures' own rights are not affected.",
        f"- Prompt: `{data.trigger}`",
        f"- Pictures: {_described(data.images, data.prompts)}",
    ]
    if data.class_images is not None:
        classes = _described(data.class_images, data.class_prompts)
        lines.append(f"- Class pictures: {classes}, prompt `{data.class_prompts[0]}`")
    if len(result.losses):
        last = result.losses[-max(1, len(result.losses) // 10) :]
        lines.append(f"- Loss: {float(last.nanmean()):.4f}, mean of the last {len(last)} steps of {len(result.losses)}")
    if share := result.trained.random:
        most = "of the trained numbers were random while they learned"
        lines.append(f"- Bayesian fine-tune (arXiv 2405.19931): {share:.1%} {most}; these are their means")
    if result.trained.kept is not None:
        lines.append(f"- Weights: of step {result.trained.kept}, which was judged best")
    for stage in stages(result.trained.curve):
        lines.append(f"- Corruption stage: from step {stage.first} to {stage.last}")
    lines += ["", "## Settings", "", f"`{type(settings).__name__}` of intaglio {intaglio.__version__}", ""]
    lines += ["| setting | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in asdict(settings).items())]
    if pictures:
        lines += ["", "## Samples", "", " ".join(f"![sample]({link})" for link in pictures)]
    return "\n".join([*lines, ""])


def _described(images: ImageSet, prompts: Sequence[str]) -> str:
    repeats = "" if len(repeated(images)) == len(images) else f", {len(repeated(images))} an epoch with repeats"
    return f"{len(images)}{repeats} (content hash `{content_hash(images, prompts)}`)"
