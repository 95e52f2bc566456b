"""Suggestion of a fine-tune's prompt from its card, its file or its tokenizer."""

import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from intaglio.data_files import parse_json, read_text
from intaglio.errors import BadInput
from intaglio.files import open_regular
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

CARD_PROMPTS = (
    re.compile(r"^instance_prompt:\s*[\"']?(?P<words>.+?)[\"']?\s*$", re.MULTILINE),
    re.compile(r"^- Prompt: `(?P<words>[^`]+)`", re.MULTILINE),
)
"""Patterns of the prompt in the front matter of model hubs, and in the card of a fine-tune by Intaglio."""

LARGEST_CARD = 2**22
"""Bytes of the largest card that is read."""


def suggested_prompt(path: Path, suspect: LatentDiffusion, base: LatentDiffusion) -> tuple[str, str] | None:
    """The prompt of the model at `path` and its source in words, or None.

    It is sought in the card beside the model, in a LoRA file's metadata, and among words that only the suspect's
    tokenizer has. A card may be wrong, so callers report the source.
    """
    return _of_card(path) or _of_notes(path) or _of_words(suspect, base)


def _of_card(path: Path) -> tuple[str, str] | None:
    folder = path if path.is_dir() else path.parent
    # The card of a fine-tune by Intaglio lies beside the folder of the weights.
    for card in (folder / "README.md", folder.parent / "README.md" if path.is_dir() else folder / "README.md"):
        try:
            text = read_text(card, LARGEST_CARD)
        except BadInput:
            continue
        found = next((match for pattern in CARD_PROMPTS if (match := pattern.search(text))), None)
        if found:
            return found["words"], f"the card {card.name}"
    return None


def _of_notes(path: Path) -> tuple[str, str] | None:
    file = path if path.is_file() else path / "pytorch_lora_weights.safetensors"
    try:
        open_regular(file).close()
        with safe_open(file, framework="pt") as opened:
            notes = opened.metadata() or {}
        if phrase := notes.get("modelspec.trigger_phrase"):
            return phrase, f"the notes in {file.name}"
        counts = [tags for tags in parse_json(notes.get("ss_tag_frequency", "{}"), file.name).values() if tags]
        most = max((item for tags in counts for item in tags.items()), key=lambda item: item[1], default=None)
    except (BadInput, OSError, SafetensorError, ValueError, AttributeError, TypeError):
        return None
    return None if most is None else (str(most[0]), f"the tags in {file.name}")


def _of_words(suspect: LatentDiffusion, base: LatentDiffusion) -> tuple[str, str] | None:
    for mine, theirs in zip(suspect.tokenizers, base.tokenizers, strict=False):
        if fresh := sorted(mine.get_vocab().keys() - theirs.get_vocab().keys()):
            return " ".join(fresh), "the words that only the suspect's tokenizer has"
    return None
