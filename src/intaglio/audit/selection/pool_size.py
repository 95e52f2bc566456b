"""The number of candidates beside that of those to choose, checked before a model is read."""

from intaglio.errors import BadInput


def check_size(size: int | None, candidates: int) -> None:
    """Raises `BadInput` where `size` of so many candidates, or any number of them where it is None, is no choice."""
    if candidates < 2:
        raise BadInput(f"there must be two candidates or more to choose from, not {candidates}; check --candidates")
    if size is not None and size >= candidates:
        raise BadInput(f"{size} chosen of {candidates} candidates is no choice; give a smaller --size")
