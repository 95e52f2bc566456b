"""Joules in other units, by arithmetic done apart; no rate is guessed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.energy.conversions import Battery, Rates, convert, parse_joules
from intaglio.errors import BadInput

PHONE = Battery(volts=3.85, amp_hours=5.0)
ALL = Rates(grams_per_kwh=480.0, price_per_kwh=0.3, currency="EUR", battery=PHONE, pue=1.5)


def test_a_phone_s_battery_in_the_worked_example():
    assert PHONE.watt_hours == pytest.approx(19.25)
    assert PHONE.joules == pytest.approx(69_300)
    assert convert(6930.0, Rates(battery=PHONE)).battery_share == pytest.approx(0.1)
    old = Battery(volts=3.85, amp_hours=5.0, health=0.8)
    assert convert(6930.0, Rates(battery=old)).battery_share == pytest.approx(0.125)


def test_a_kilowatt_hour_in_every_unit():
    found = convert(3_600_000.0, ALL)
    assert found.kwh == pytest.approx(1.0)
    assert found.grams == pytest.approx(480 * 1.5)
    assert found.money == pytest.approx(0.3 * 1.5)
    assert found.battery_share == pytest.approx(1000 / 19.25)
    assert found.why_not == {}


def test_grams_and_kilograms_are_not_mixed_up():
    """500 kg a MWh are 500 g a kWh: a tenth of a kWh is 50 g."""
    assert convert(360_000.0, Rates(grams_per_kwh=500.0)).grams == pytest.approx(50.0)


def test_without_rates_nothing_is_guessed():
    found = convert(7.2e6)
    assert (found.kwh, found.battery_share, found.grams, found.money, found.pue) == (2.0, None, None, None, 1.0)
    assert set(found.why_not) == {"battery_share", "grams", "money"}
    assert "state the grams of CO2e a kWh" in found.why_not["grams"]
    rows = dict(found.rows())
    assert rows["PUE"] == "1, in carbon and cost"
    assert rows["carbon"] == found.why_not["grams"]


def test_amounts_are_shown_with_their_units():
    rows = dict(convert(360_000.0, ALL).rows())
    assert rows == {
        "energy": "360 kJ (100 Wh), 0.1 kWh",
        "battery": "519.5% of its charge",
        "carbon": "72 g CO2e",
        "cost": "0.045 EUR",
        "PUE": "1.5, in carbon and cost",
    }


def test_electricity_without_carbon_or_price_is_no_missing_rate():
    found = convert(3.6e6, Rates(grams_per_kwh=0.0, price_per_kwh=0.0, currency="EUR"))
    assert (found.grams, found.money) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "joules"),
    [
        ("20 kJ", 20_000),
        ("20kJ", 20_000),
        ("7 J", 7),
        ("1.5 MJ", 1.5e6),
        ("2 GJ", 2e9),
        ("1 Wh", 3600),
        ("0.5 kWh", 1.8e6),
        (" .5 kwh ", 1.8e6),
        ("1e-3 MWh", 3.6e6),
        ("10 %", 6930),
        ("10%", 6930),
        ("72 g", 360_000),
        ("72 g CO2e", 360_000),
        ("0.072 kgCO2", 360_000),
        ("0.045 EUR", 360_000),
    ],
)
def test_amounts_with_units_are_joules(text, joules):
    assert parse_joules(text, ALL) == pytest.approx(joules)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no amount with a unit; give one such as 0.5 kWh, 20 kJ, 10 %, 50 g, 0.3 EUR"),
        ("5", "is no amount with a unit"),
        ("kWh", "is no amount with a unit"),
        ("0,5 kWh", "is no amount with a unit"),
        ("5 mJ", "has no unit that is known"),
        ("5 mwh", "has no unit that is known"),
        ("5 USD", "has no unit that is known"),
        ("5 h", "has no unit that is known"),
        ("0 J", "must be above 0"),
        ("-3 kWh", "must be above 0"),
        ("1e999 J", "must be above 0 and finite"),
        ("1e305 MWh", "is beyond every energy"),
        ("nan J", "is no amount with a unit"),
    ],
)
def test_amounts_that_mean_nothing_are_named(text, words):
    with pytest.raises(BadInput, match=words) as caught:
        parse_joules(text, ALL)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rates", "words"),
    [
        ("10 %", Rates(), "a share of a battery, which is not known"),
        ("50 g", Rates(), "an amount of CO2e, and the grams a kWh is not known"),
        ("50 g", Rates(grams_per_kwh=0.0), "is 0, so that no energy reaches it"),
        ("0.3 EUR", Rates(), "has no unit that is known here; give an amount such as 0.5 kWh, 20 kJ$"),
        ("0.3 EUR", Rates(price_per_kwh=0.0, currency="EUR"), "a cost, and the price a kWh is 0"),
    ],
)
def test_a_unit_whose_rate_is_missing_is_named(text, rates, words):
    with pytest.raises(BadInput, match=words):
        parse_joules(text, rates)


@given(st.floats(1e-3, 1e12), st.floats(1, 3), st.floats(1e-3, 2e3), st.floats(1e-3, 10))
def test_conversions_and_amounts_are_each_other_s_inverse(joules, pue, intensity, price):
    rates = Rates(grams_per_kwh=intensity, price_per_kwh=price, currency="€", battery=PHONE, pue=pue)
    found = convert(joules, rates)
    for text in (
        f"{found.kwh!r} kWh",
        f"{found.grams!r} g",
        f"{found.money!r} €",
        f"{100 * (found.battery_share or 0)!r} %",
    ):
        assert parse_joules(text, rates) == pytest.approx(joules, rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pue": 0.9}, "pue must be at least 1"),
        ({"pue": math.nan}, "pue must be at least 1"),
        ({"grams_per_kwh": -1.0}, "grams_per_kwh must be finite and at least 0"),
        ({"price_per_kwh": math.inf, "currency": "EUR"}, "price_per_kwh must be finite"),
        ({"price_per_kwh": 0.3}, "price_per_kwh and currency go together"),
        ({"currency": "EUR"}, "price_per_kwh and currency go together"),
        ({"price_per_kwh": 0.3, "currency": "kg"}, "currency must be a word"),
        ({"price_per_kwh": 0.3, "currency": "%"}, "currency must be a word"),
        ({"price_per_kwh": 0.3, "currency": "1x"}, "currency must be a word"),
    ],
)
def test_rates_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Rates(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"volts": 0.0}, "volts must be finite and above 0"),
        ({"amp_hours": math.inf}, "amp_hours"),
        ({"health": 1.1}, "health"),
    ],
)
def test_batteries_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Battery(**{"volts": 3.7, "amp_hours": 4.0, **settings})
    with pytest.raises(ValueError, match="joules must be finite and at least 0"):
        convert(-1.0)
