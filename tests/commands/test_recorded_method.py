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
    path = tmp_path / "half.png"
    path.write_bytes(b"one")
    found = stored_settings(Way(path))
    hashed = found["measured"].pop("sha256")
    assert found == {"measured": {"name": "half.png"}, "box": [1, 2], "rate": 0.5}
    path.write_bytes(b"two")
    assert stored_settings(Way(path))["measured"]["sha256"] != hashed
    assert stored_settings(Way())["measured"] is None


@dataclass(frozen=True)
class Ways:
    """A method with several models."""

    others: tuple[Path, ...] = ()


def test_several_files_and_folders_count_by_their_content_and_keep_their_names(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"one")
    (tmp_path / "file").write_bytes(b"two")
    way = Ways((folder, tmp_path / "file", Path("emoji64")))
    before = hashed_settings(way)
    assert before["others"][1] == file_hash(tmp_path / "file")
    assert all(len(one) == 64 for one in before["others"])
    (folder / "weights").write_bytes(b"three")
    after = hashed_settings(way)["others"]
    assert [one == two for one, two in zip(before["others"], after, strict=True)] == [False, True, True]
    assert stored_settings(way)["others"]["name"] == ["model", "file", "emoji64"]
    with pytest.raises(BadInput, match="nowhere"):
        hashed_settings(Ways((tmp_path / "nowhere",)))
