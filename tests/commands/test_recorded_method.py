from dataclasses import dataclass
from pathlib import Path

import pytest

from intaglio.commands.kit.recorded_method import hashed_settings, stored_settings
from intaglio.errors import BadInput
from intaglio.files import file_hash


@dataclass(frozen=True)
class Way:
    """A method with a file."""

    measured: Path | None = None
    box: tuple[int, int] = (1, 2)
    rate: float = 0.5


def test_a_file_counts_by_its_content(tmp_path):
    path = tmp_path / "half.png"
    path.write_bytes(b"one")
    before = hashed_settings(Way(path))
    assert before == {"measured": file_hash(path), "box": (1, 2), "rate": 0.5}
    path.write_bytes(b"two")
    assert hashed_settings(Way(path)) != before
    assert hashed_settings(Way()) == {"measured": None, "box": (1, 2), "rate": 0.5}
    with pytest.raises(BadInput, match="other.png"):
        hashed_settings(Way(tmp_path / "other.png"))


def test_a_picture_keeps_the_name_of_a_file_and_not_its_place(tmp_path):
    assert stored_settings(Way(tmp_path / "half.png")) == {"measured": "half.png", "box": [1, 2], "rate": 0.5}
