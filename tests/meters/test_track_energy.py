"""The decorator that keeps a line of JSON for each call."""

import json

import pytest

from intaglio.errors import BadInput
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.machine_meters import FoundMeters
from intaglio.meters.meter import MeterFailed, MeterReading
from intaglio.meters.replay import Replay
from intaglio.meters.track_energy import track_energy

GPU = Domain("gpu:0", Scope.GPU_BOARD, Provenance.COUNTER, "replay")


def planted(*joules, **further):
    readings = [
        amount if isinstance(amount, Exception) else MeterReading(5.0 * k, {"gpu:0": float(amount)})
        for k, amount in enumerate(joules)
    ]
    return FoundMeters((Replay(readings, {"gpu:0": GPU}, **further),), ())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_call_adds_a_line_and_returns_its_value(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"older": true}\n')

    @track_energy(path, meters=planted(0, 3, 10, 14))
    def double(x, *, times=2):
        """Twice."""
        return times * x

    assert [double(4), double(5, times=3)] == [8, 15]
    assert (double.__name__, double.__doc__) == ("double", "Twice.")
    older, *calls = lines(path)
    assert older == {"older": True}
    assert [call["joules"] for call in calls] == [3.0, 4.0]
    assert [call["joules_of"] for call in calls] == [{"gpu:0": 3.0}, {"gpu:0": 4.0}]
    assert all(call["function"].endswith("double") and call["began"].endswith("+00:00") for call in calls)


def test_a_meter_that_fails_or_is_too_coarse_costs_neither_value_nor_line(tmp_path):
    for found, why in ((planted(0, MeterFailed("gone")), "gone"), (planted(0, 1, tick_s=9.0), "resolves no less")):
        path = tmp_path / f"{why[:4]}.jsonl"
        assert track_energy(str(path), meters=found)(lambda: 7)() == 7
        (call,) = lines(path)
        assert call["joules"] is None
        assert why in call["joules_why"]
        assert call["cpu_seconds"] >= 0


def test_an_error_goes_on_and_adds_no_line(tmp_path):
    path = tmp_path / "runs.jsonl"
    tracked = track_energy(path, meters=planted(0, 1, 2))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tracked()
    assert path.read_text() == ""


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    called = []
    tracked = track_energy(tmp_path / "no" / "runs.jsonl", meters=planted(0, 1))(lambda: called.append(1))
    with pytest.raises(BadInput, match="cannot be written .*; name another file"):
        tracked()
    assert called == []


def test_functions_that_return_before_their_work_are_no_windows(tmp_path):
    async def later():
        pass

    with pytest.raises(TypeError, match="returns before its work is done"):
        track_energy(tmp_path / "runs.jsonl")(later)


def test_the_meters_of_this_machine_are_looked_for_at_the_first_call(tmp_path):
    path = tmp_path / "runs.jsonl"
    assert track_energy(path)(lambda: 3)() == 3
    (call,) = lines(path)
    assert call["joules"] is not None or call["joules_why"]
