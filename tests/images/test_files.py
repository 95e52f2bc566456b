"""Atomic writes under failure, and content hashes against their definition."""

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.errors import BadInput, IntaglioError
from intaglio.files import TEMPORARY, atomic_folder, atomic_path, atomic_write, file_hash, folder_hash


@given(data=st.one_of(st.binary(max_size=99), st.text(st.characters(exclude_categories=["Cs"]), max_size=99)))
def test_what_is_written_is_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("w") / "new" / "a"
    atomic_write(path, data)
    assert path.read_bytes() == (data if isinstance(data, bytes) else data.encode())
    assert [p.name for p in path.parent.iterdir()] == ["a"]


def test_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    atomic_write(path, b"old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            assert temporary.name.startswith(TEMPORARY)
            assert path.read_bytes() == b"old"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    """The order that makes a write safe: sync the new file, then rename it in its own folder, then sync the folder."""
    path = tmp_path / "a"
    calls = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        sync(descriptor)

    def replaced(self, target):
        calls.append((self.parent, self.read_bytes(), target))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    atomic_write(path, b"whole")
    assert calls == [5, (tmp_path, b"whole", path), "folder"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only"),
    ],
)
def test_refusals_of_the_disk_are_one_sentence(tmp_path, error, reason):
    def fail():
        with atomic_path(tmp_path / "a"):
            raise error

    with pytest.raises(IntaglioError, match=reason) as caught:
        fail()
    assert str(tmp_path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_hashes(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b").write_bytes(b"bb")
    (tmp_path / "sub" / "a").write_bytes(b"aa")
    digest = hashlib.sha256()
    for name, data in (("b", b"bb"), ("sub/a", b"aa")):
        digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    before = folder_hash(tmp_path)
    assert before == digest.hexdigest()
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert folder_hash(tmp_path) == before
    (tmp_path / "b").rename(tmp_path / "c")
    assert folder_hash(tmp_path) != before
    assert folder_hash(tmp_path / "c") == file_hash(tmp_path / "c") == hashlib.sha256(b"bb").hexdigest()
    with pytest.raises(BadInput, match="gone"):
        file_hash(tmp_path / "gone")


def written(folder: Path, content: str, break_at: str = "") -> None:
    with atomic_folder(folder, "config.json") as fresh:
        (fresh / "sub").mkdir()
        (fresh / "config.json").write_text(content)
        (fresh / "sub" / "weights").write_text(content)
        if break_at == "inside":
            raise RuntimeError("stop")


def read(folder: Path) -> tuple[str, str]:
    return (folder / "config.json").read_text(), (folder / "sub" / "weights").read_text()


def test_a_folder_is_synced_file_by_file_before_it_takes_its_name(tmp_path, monkeypatch):
    calls: list[object] = []
    sync, rename = os.fsync, Path.rename

    def synced(descriptor):
        calls.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def renamed(self, target):
        calls.append(Path(target).name)
        inodes = [path.stat().st_ino for path in self.rglob("*") if path.is_file()]
        assert len(inodes) == 2
        assert set(inodes) <= set(calls)
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    written(tmp_path / "model", "new")
    assert "model" in calls


@pytest.mark.parametrize("break_at", ["inside", "first rename", "last rename"])
def test_the_old_folder_stands_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, break_at):
    written(tmp_path / "model", "old")
    rename, count = Path.rename, iter(range(9))

    def failing(self, target):
        if next(count) == {"first rename": 0, "last rename": 1}[break_at]:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch:
        if break_at != "inside":
            patch.setattr(Path, "rename", failing)
        with pytest.raises((RuntimeError, IntaglioError)):
            written(tmp_path / "model", "new", break_at)
    assert read(tmp_path / "model") == ("old", "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
