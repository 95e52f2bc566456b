"""Joules of the work since a moment, on planted readings."""

import pytest

from intaglio.errors import BadInput
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.machine_meters import FoundMeters
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.meters.replay import Replay
from intaglio.meters.spending import Spending

ABSENT = (("rapl", Availability("no-permission", "root only")),)


def found(*joules, provenance=Provenance.COUNTER, shared=False, scope=Scope.GPU_BOARD):
    domain = Domain("gpu:0", scope, provenance, "replay", shared=shared)
    readings = [one if isinstance(one, Exception) else MeterReading(0.0, {"gpu:0": float(one)}) for one in joules]
    return FoundMeters((Replay(readings, {"gpu:0": domain}),), ABSENT)


def test_joules_are_those_since_the_beginning():
    with Spending.begin("cuda:0", found=found(100, 100, 103, 110)) as spending:
        assert (spending.joules(), spending.joules()) == (3.0, 10.0)
    assert (spending.origin, spending.domains, spending.absent) == ("measured", ("gpu:0",), "rapl: root only")


def test_a_vendor_s_estimate_is_called_so():
    assert (
        Spending.begin("cuda:0", found=found(1, 1, provenance=Provenance.VENDOR_ESTIMATE)).origin == "vendor-estimate"
    )


def test_a_failure_is_never_nothing():
    spending = Spending.begin("cuda:0", found=found(100, 100, MeterFailed("gone")))
    with pytest.raises(MeterFailed, match="gone"):
        spending.joules()


@pytest.mark.parametrize(
    ("meters", "words"),
    [
        (FoundMeters((), ABSENT), "rapl: root only"),
        (FoundMeters((), ()), "this machine has no meter"),
        (found(1, 1, shared=True), "was shared with others"),
        (found(MeterFailed("gone")), "gone"),
    ],
)
def test_without_a_sum_of_joules_it_is_refused_or_modelled(meters, words):
    with pytest.raises(BadInput, match=words) as caught:
        Spending.begin("cuda:0", found=meters)
    assert "--watts-per-cpu-second" in str(caught.value)


def test_stated_watts_take_the_place_of_a_meter_and_never_join_one():
    with Spending.begin("cpu", 10.0, FoundMeters((), ABSENT)) as spending:
        before = spending.joules()
        sum(range(200_000))
        assert spending.joules() > before
    assert (spending.origin, spending.domains, spending.absent) == ("modelled", ("cpu-model",), "rapl: root only")
    assert Spending.begin("cuda:0", 10.0, found(100, 100)).origin == "measured"
