"""Units of traces of external meters, and what one of each is in W, J or s."""

from typing import Literal

TraceUnit = Literal["auto", "mW", "W", "kW", "mJ", "J", "kJ", "Wh", "kWh"]
TimeUnit = Literal["s", "ms", "us", "ns"]

POWERS = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
ENERGIES = {"mJ": 1e-3, "J": 1.0, "kJ": 1e3, "Wh": 3.6e3, "kWh": 3.6e6}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
