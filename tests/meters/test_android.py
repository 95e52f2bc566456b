"""Android's dumps: joules by charge are measured, joules by the vendor's powers are modelled."""

import pytest

from intaglio.errors import BadInput
from intaglio.meters.android import battery_state, spent_of_battery, spent_of_statistics
from intaglio.meters.domain import Provenance
from intaglio.meters.meter import MeterFailed, WindowTooShort
from intaglio.meters.spent import NoSum


def battery(charge=2_813_000, millivolts=3850, status=3, usb="false", wireless="false"):
    return f"""Current Battery Service state:
  AC powered: false
  USB powered: {usb}
  Wireless powered: {wireless}
  Max charging current: 0
  Max charging voltage: 5000000
  Charge counter: {charge}
  status: {status}
  health: 2
  level: 64
  voltage: {millivolts}
  temperature: 250
"""


def statistics(computed, *, after=""):
    return f"9,0,i,vers,36,208,A,B\n9,0,l,bt,2,43722106\n9,0,l,pws,3900,{computed},3237,3354{after}\n9,0,l,gn,0\n"


def test_a_whole_battery_is_its_charge_times_its_voltage():
    spent = spent_of_battery(battery(5_000_001), battery(1), 3600.0)
    assert spent.total() == pytest.approx(69_300, rel=1e-9)  # 5 Ah at 3.85 V are 19.25 Wh
    assert (spent.seconds, spent.domains["battery"].provenance) == (3600.0, Provenance.SAMPLED)


def test_the_voltage_is_the_mean_of_both_dumps():
    spent = spent_of_battery(battery(2_000_000, 4000), battery(1_999_000, 3800), 60.0)
    assert spent.total() == pytest.approx(1e-3 * 3600 * 3.9)


def test_voltage_and_status_may_carry_words():
    text = battery().replace("voltage: 3850", "voltage: 3850 mV").replace("status: 3", "status: 2 (Charging)")
    assert battery_state(text).volts == pytest.approx(3.85)
    assert battery_state(text).fed


@pytest.mark.parametrize("fed", [{"status": 2}, {"status": 5}, {"usb": "true"}, {"wireless": "true"}])
def test_a_device_that_is_fed_is_refused(fed):
    for dumps in ((battery(**fed), battery(1)), (battery(), battery(1, **fed))):
        with pytest.raises(BadInput, match="unplug it"):
            spent_of_battery(*dumps, 60.0)


def test_a_gauge_that_rises_or_stands_is_no_nought():
    with pytest.raises(MeterFailed, match="charge rose"):
        spent_of_battery(battery(1000), battery(1001), 60.0)
    with pytest.raises(WindowTooShort, match="did not move in 60 s"):
        spent_of_battery(battery(1000), battery(1000), 60.0)


@pytest.mark.parametrize(
    ("dump", "says"),
    [
        ("", "no line 'Charge counter'"),
        (battery(0), "does not count"),
        (battery(-5), "does not count"),
        (battery(millivolts=3), "must be in mV"),
        (battery(millivolts=3_850_000), "must be in mV"),
        (battery().replace("  voltage: 3850\n", ""), "no line 'voltage'"),
    ],
)
def test_a_dump_that_does_not_tell_is_refused(dump, says):
    with pytest.raises(BadInput, match=says):
        battery_state(dump)


def test_statistics_are_modelled_and_never_added_to_what_is_measured():
    spent = spent_of_statistics(statistics(100), statistics("112.5"), 60.0, volts=3.85)
    assert spent.total() == pytest.approx(0.0125 * 3600 * 3.85)
    assert spent.domains["battery-model"].provenance is Provenance.MODELLED
    both = spent_of_battery(battery(2_000_000), battery(1_990_000), 60.0).beside(spent)
    with pytest.raises(NoSum, match="different origins"):
        both.total()


def test_statistics_that_were_reset_or_are_missing_are_refused():
    with pytest.raises(MeterFailed, match="were reset"):
        spent_of_statistics(statistics(100), statistics("0.5"), 60.0, 3.85)
    with pytest.raises(WindowTooShort, match="did not move"):
        spent_of_statistics(statistics(100), statistics("100.0"), 60.0, 3.85)
    with pytest.raises(BadInput, match="no record pws"):
        spent_of_statistics(battery(), statistics(1), 60.0, 3.85)


@pytest.mark.parametrize(("seconds", "volts"), [(0.0, 3.85), (-1.0, 3.85), (60.0, 0.0), (60.0, 3850.0)])
def test_wrong_settings_are_refused(seconds, volts):
    with pytest.raises(ValueError, match="must be a"):
        spent_of_statistics(statistics(1), statistics(2), seconds, volts)
