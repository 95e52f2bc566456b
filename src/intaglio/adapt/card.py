"""The model card of tuned weights: base, prompt, pictures by their hashes, settings and licence."""

import re
from collections.abc import Sequence
from dataclasses import asdict

import intaglio
from intaglio.adapt.corruption import stages
from intaglio.adapt.data import TrainingSet, epoch_order, training_hash
from intaglio.adapt.guarantee import Guarantee
from intaglio.adapt.settings import Training
from intaglio.adapt.training import Trained
from intaglio.images.image_set import ImageSet

_BLOCK = re.compile(r"^(?:.*\.)?(?:\w*blocks|layers|attentions|resnets)\.\d+\.")
"""The path of the innermost block around a layer."""


def card(
    name: str,
    description: str,
    *,
    tags: Sequence[str],
    base: str,
    data: TrainingSet,
    settings: Training,
    trained: Trained,
    pictures: Sequence[str],
    layers: Sequence[tuple[str, str]] = (),
    guarantee: Guarantee | None = None,
) -> str:
    """Markdown with the front matter that model hubs read.

    Args:
        name: the heading.
        description: the paragraph below it.
        tags: of the front matter.
        base: the model that was tuned, with its fingerprint.
        data: the training set; only hashes of its pictures are told.
        settings: those of the fine-tune, listed as a table.
        trained: the course of the fine-tune.
        pictures: links to sample pictures, relative to the card.
        layers: part and path of each layer that an adapter changes.
        guarantee: the privacy of each picture, beside which nothing is told that was computed from one.
    """
    head = ["---", "tags:", *(f"- {tag}" for tag in tags), "---", "", f"# {name}", "", description, ""]
    facts = [
        f"- Base: {base}",
        "- Licence: inherits the base's; the pictures' own rights are not affected.",
        *(_of_data(data) if guarantee is None else _of_private_data(data)),
        *_of_layers(layers),
        *(_of_training(trained) if guarantee is None else guarantee.lines()),
    ]
    table = ["", "## Settings", "", f"`{type(settings).__name__}` of intaglio {intaglio.__version__}", ""]
    table += ["| setting | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in asdict(settings).items())]
    samples = ["", "## Samples", "", " ".join(f"![sample]({link})" for link in pictures)] if pictures else []
    return "\n".join([*head, *facts, *table, *samples, ""])


def _of_data(data: TrainingSet) -> list[str]:
    lines = [f"- Prompt: `{data.trigger}`", f"- Pictures: {_described(data.images, data.prompts)}"]
    if data.class_images is not None:
        classes = _described(data.class_images, data.class_prompts)
        lines.append(f"- Class pictures: {classes}, prompt `{data.class_prompts[0]}`")
    return lines


def _of_private_data(data: TrainingSet) -> list[str]:
    """The prompt, where it is none of a picture's own, and a number: a hash of pictures would confirm a guess."""
    prompts = [] if data.prompt is None else [f"- Prompt: `{data.prompt}`"]
    return [*prompts, f"- Pictures: {len(data.images)}, each kept private"]


def _of_layers(layers: Sequence[tuple[str, str]]) -> list[str]:
    """A line a part: how many layers, and the ends of their paths after the number of their block."""
    lines = []
    for part in dict.fromkeys(part for part, _ in layers):
        paths = [path for one, path in layers if one == part]
        ends = ", ".join(f"`{end}`" for end in sorted({_BLOCK.sub("", path) for path in paths}))
        lines.append(f"- Layers changed in the {part}: {len(paths)}, paths that end in {ends}")
    return lines


def _of_training(trained: Trained) -> list[str]:
    lines = []
    if len(last := trained.last_losses):
        count = len(trained.losses)
        lines.append(f"- Loss: {float(last.nanmean()):.4f}, mean of the last {len(last)} steps of {count}")
    if share := trained.random:
        most = "of the trained numbers were random while they learned"
        lines.append(f"- Bayesian fine-tune (arXiv 2405.19931): {share:.1%} {most}; these are their means")
    if trained.kept is not None:
        lines.append(f"- Weights: of step {trained.kept}, which was judged best")
    lines += [f"- Corruption stage: from step {stage.first} to {stage.last}" for stage in stages(trained.curve)]
    return lines


def _described(images: ImageSet, prompts: Sequence[str]) -> str:
    shown = len(epoch_order(images))
    repeats = "" if shown == len(images) else f", {shown} an epoch with repeats"
    return f"{len(images)}{repeats} (content hash `{training_hash(images, prompts)}`)"
