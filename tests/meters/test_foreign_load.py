"""Load of other processes on a device, from planted kernel times and a planted NVML."""

import os
import time
from types import SimpleNamespace

import pytest

from intaglio.meters import foreign_load as room
from intaglio.meters.foreign_load import busy_of_others, foreign_load

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A processor whose times advance while one sleeps, by these seconds of user, idle, disk and guest time."""
    stat, spent = tmp_path / "stat", {"user": 0.0, "idle": 0.0, "disk": 0.0, "guest": 0.0, "own": 0.0}
    clock = SimpleNamespace(now=0.0, own=0.0)

    def write(share):
        user, idle, disk, guest = (int(share * spent[name] * TICKS) + 1000 for name in list(spent)[:4])
        stat.write_text(f"cpu  {user} 0 0 {idle} {disk} 0 0 0 {guest} 0\ncpu0 1 2 3\n")

    def sleep(seconds):
        clock.now += seconds
        clock.own += spent["own"] * seconds
        write(clock.now)

    write(0.0)
    planted = SimpleNamespace(sleep=sleep, monotonic=lambda: clock.now)
    monkeypatch.setattr(room, "time", planted)
    monkeypatch.setattr(room, "cpu_seconds", lambda: clock.own)
    return stat, spent


def test_others_are_all_that_is_busy_but_oneself(machine):
    stat, spent = machine
    spent |= {"user": 1.5, "idle": 2.0, "disk": 0.5, "guest": 0.75}
    assert busy_of_others(stat) == pytest.approx(1.5), "waiting for a disk is rest, and guests are part of the rest"
    spent["own"] = 1.25
    assert busy_of_others(stat) == pytest.approx(0.25)
    assert foreign_load("cpu", stat=stat) == ""
    spent["own"] = 0.5
    assert foreign_load("cpu", stat=stat) == "other processes keep 1.00 cores busy"


def test_own_work_is_no_load_of_others(machine):
    stat, spent = machine
    spent |= {"user": 1.0, "own": 1.1}
    assert busy_of_others(stat) == 0.0


@pytest.mark.parametrize("text", [None, "", "cpu one two", "intr 1 2 3 4 5 6", "cpu 1 2"])
def test_a_kernel_that_does_not_tell_is_taken_for_a_machine_at_rest(tmp_path, text):
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert busy_of_others(tmp_path / "stat", look_s=0.0) is None
    assert foreign_load("cpu", stat=tmp_path / "stat", look_s=0.0) == ""


def test_this_machine_tells_a_share_of_its_cores():
    began, busy = time.monotonic(), busy_of_others(look_s=0.05)
    assert time.monotonic() - began < 2
    assert busy is None or 0 <= busy <= 2 * (os.cpu_count() or 1)


@pytest.mark.parametrize(("pids", "said"), [([os.getpid()], ""), ([], ""), ([1], "other processes compute on cuda:0")])
def test_an_accelerator_is_asked_for_its_processes(monkeypatch, pids, said):
    monkeypatch.setattr(room, "handle_of", lambda nvml, device: device)
    monkeypatch.setattr(room, "processes_of", lambda nvml, handle: tuple(pids))
    assert foreign_load("cuda:0", nvml=object()) == said
