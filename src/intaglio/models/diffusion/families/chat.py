"""Prompts for text encoders that are language models: messages of a chat, by the tokenizer's template."""

from collections.abc import Callable, Iterator
from typing import Any


def as_message(prompt: str, tokenizer: Any, *, thinking: bool) -> str:
    """The text of a chat in which the prompt is the user's only message, up to where the answer begins.

    `thinking` leaves room for thoughts before the answer; without it the template closes them.
    """
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=thinking
    )


def template_reasons(tokenizer: Any, written: Callable[[str, Any], str] | None = None) -> Iterator[str]:
    """Reasons, each half a sentence, that prompts cannot be written as messages, by `written` or by `as_message`."""
    if not getattr(tokenizer, "chat_template", None):
        yield "its tokenizer has no chat_template, by which prompts are written"
        return
    try:
        found = written("a cat", tokenizer) if written else as_message("a cat", tokenizer, thinking=True)
    except Exception as error:  # a template is a program, which may raise anything
        yield f"its tokenizer's chat_template fails ({str(error)[:100] or type(error).__name__})"
        return
    if "a cat" not in found:
        yield "its tokenizer's chat_template leaves the prompt out"
