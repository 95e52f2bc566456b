"""Windows of meters against planted readings; sums; RAPL against a planted folder."""

import math
import os
import time
from dataclasses import replace

import numpy as np
import pytest

from intaglio.meters import machine_meters
from intaglio.meters.domain import Domain, Provenance, Scope, Unit
from intaglio.meters.jetson import JetsonRails
from intaglio.meters.machine_meters import FoundMeters, meters_for
from intaglio.meters.meter import Availability, MeterFailed, MeterReading, WindowTooShort
from intaglio.meters.monitor import EnergyMonitor
from intaglio.meters.process_time import ProcessTime, StatedWatts
from intaglio.meters.rapl import RAPL
from intaglio.meters.replay import NoMeter, Replay
from intaglio.meters.spent import NoSum, Spent

GPU = Domain("gpu:0", Scope.GPU_BOARD, Provenance.COUNTER, "replay")
WALL = Domain("wall", Scope.WALL, Provenance.EXTERNAL, "trace")


def replay(*joules, every_s=10.0, domain=GPU, **further):
    readings = [
        amount if isinstance(amount, Exception) else MeterReading(k * every_s, {domain.name: amount})
        for k, amount in enumerate(joules)
    ]
    return Replay(readings, {domain.name: domain}, **further)


def spent(**amounts):
    domains = {"gpu:0": GPU, "wall": WALL, "model": replace(GPU, name="model", provenance=Provenance.MODELLED)}
    names = {"gpu": "gpu:0"}
    amounts = {names.get(name, name): float(amount) for name, amount in amounts.items()}
    return Spent(1.0, amounts, {name: domains[name] for name in amounts})


def test_a_window_is_the_difference_of_two_readings():
    with EnergyMonitor([replay(5.0, 12.5)]) as monitor, monitor.window("train") as train:
        assert train.spent is None
    assert train.spent.total() == 7.5
    assert train.spent.seconds == 10.0
    assert train.spent.domains["gpu:0"].provenance is Provenance.COUNTER


def test_windows_nest_and_overlap():
    monitor = EnergyMonitor([replay(0.0, 1.0, 3.0, 7.0)])
    monitor.begin_window("all")
    monitor.begin_window("step")
    assert monitor.end_window("all").total() == 3.0
    assert monitor.end_window("step").total() == 6.0


def test_a_window_can_be_cancelled_and_begun_again():
    monitor = EnergyMonitor([replay(0.0, 1.0, 5.0, 6.0, 7.0)])
    monitor.begin_window("step")
    with pytest.raises(ValueError, match="is open already"):
        monitor.begin_window("step")
    monitor.begin_window("step", restart=True)
    assert monitor.end_window("step").total() == 4.0
    monitor.begin_window("step")
    monitor.cancel_window("step")
    with pytest.raises(ValueError, match="no window 'step' is open; open are none"):
        monitor.end_window("step")


def test_an_error_inside_goes_on_and_cancels_the_window():
    monitor = EnergyMonitor([replay(0.0, 1.0, 2.0)])
    with pytest.raises(ZeroDivisionError), monitor.window("step"):
        1 / 0
    with monitor.window("step") as step:
        pass
    assert step.spent.total() == 1.0


def test_so_far_leaves_the_window_open_and_takes_short_ones():
    monitor = EnergyMonitor([replay(0.0, 1.0, 3.0, every_s=0.1, tick_s=0.02)])
    monitor.begin_window("run")
    assert monitor.so_far("run").total() == 1.0
    assert monitor.end_window("run").total() == 3.0


def test_a_window_shorter_than_ten_ticks_is_refused():
    monitor = EnergyMonitor([replay(0.0, 0.0, every_s=0.5, tick_s=0.1)])
    with (
        pytest.raises(WindowTooShort, match=r"lasted 0.5 s, and replay resolves no less than 1 s"),
        monitor.window("x"),
    ):
        pass


def test_windows_out_of_step_with_their_counter_err_as_stated():
    """Begin and length anywhere within a tick: an error of sd tick / √6 seconds of power."""
    tick_s, watts, windows, generator = 0.1, 50.0, 1500, np.random.default_rng(0)
    begins, lengths = generator.uniform(0, 100, windows), generator.uniform(1.0, 1.1, windows)
    moments = np.stack([begins, begins + lengths], axis=1).reshape(-1).tolist()
    shown = [MeterReading(moment, {"gpu:0": tick_s * watts * math.floor(moment / tick_s)}) for moment in moments]
    monitor, errors = EnergyMonitor([Replay(shown, {"gpu:0": GPU}, tick_s=tick_s)]), []
    for length_s in lengths:
        monitor.begin_window("x")
        errors.append(monitor.end_window("x").total() - watts * length_s)
    assert np.std(errors) == pytest.approx(watts * tick_s / math.sqrt(6), rel=0.1)
    assert abs(np.mean(errors)) < 0.1 * watts * tick_s


def test_a_failed_reading_never_becomes_a_figure():
    monitor = EnergyMonitor([replay(0.0, MeterFailed("the driver is gone"))])
    with pytest.raises(MeterFailed, match="the driver is gone"), monitor.window("x") as window:
        pass
    assert window.spent is None


def test_a_counter_that_falls_fails_its_window():
    with pytest.raises(MeterFailed, match="fell within window 'x'"), EnergyMonitor([replay(9.0, 1.0)]).window("x"):
        pass


def test_a_figure_that_is_lost_fails_its_window():
    lost = Replay([MeterReading(0.0, {"gpu:0": 1.0}), MeterReading(1.0, {})], {"gpu:0": GPU})
    with pytest.raises(MeterFailed, match="no figure of gpu:0"), EnergyMonitor([lost]).window("x"):
        pass


def test_two_meters_of_one_name_of_domain_are_refused():
    with pytest.raises(MeterFailed, match="two meters speak of gpu:0"):
        EnergyMonitor([replay(0.0), replay(0.0)]).domains()


def test_fast_meters_lie_closest_to_the_work():
    read = []

    class Noted(Replay):
        def read(self):
            read.append(self.name)
            return super().read()

    meters = [
        Noted(
            [MeterReading(0.0, {name: 0.0}), MeterReading(1.0, {name: 1.0})],
            {name: replace(GPU, name=name)},
            name=name,
            slow=slow,
        )
        for name, slow in (("fast", False), ("slow", True))
    ]
    with EnergyMonitor(meters).window("x"):
        read.append("work")
    assert read == ["slow", "fast", "work", "fast", "slow"]


def test_a_decorated_function_returns_its_value_and_tells_what_it_took():
    told = []

    @EnergyMonitor([replay(0.0, 1.0, 3.0, 8.0)]).track(lambda name, window: told.append((name, window.total())))
    def factorial(n):
        return 1 if n == 1 else n * factorial(n - 1)

    assert factorial(2) == 2
    assert [(name.rpartition(".")[2], joules) for name, joules in told] == [("factorial", 2.0), ("factorial", 8.0)]


def test_functions_that_return_before_their_work_are_refused():
    async def later():
        pass

    def many():
        yield 1

    async def many_later():
        yield 1

    track = EnergyMonitor([replay(0.0)]).track(print)
    for function in (later, many, many_later):
        with pytest.raises(TypeError, match="returns before its work is done"):
            track(function)


def test_only_disjoint_figures_of_one_origin_are_added():
    assert spent(gpu=3).total() == 3.0
    assert spent(gpu=3, wall=10).total() == 13.0
    inside = Spent(1.0, {"gpu:0": 3.0, "wall": 10.0}, {"gpu:0": replace(GPU, inside=frozenset({"wall"})), "wall": WALL})
    assert inside.total() == 10.0
    with pytest.raises(NoSum, match="different origins.*gpu:0 measured-counter, model modelled"):
        spent(gpu=3, model=10).total()
    assert spent(gpu=3, model=10).totals() == {"measured": 3.0, "modelled": 10.0}
    with pytest.raises(NoSum, match="no meter here gives CPU-s"):
        spent(gpu=3).total(Unit.CPU_SECONDS)
    with pytest.raises(NoSum, match="no meter here gives J"):
        Spent(1.0, {}, {}).total()


def test_shared_work_has_no_sum_until_a_share_is_stated_and_is_modelled_then():
    shared = Spent(1.0, {"gpu:0": 8.0}, {"gpu:0": replace(GPU, shared=True)})
    with pytest.raises(NoSum, match="gpu:0 was shared"):
        shared.total()
    assert shared.totals() == {}
    own = shared.attributed({"gpu:0": 0.25})
    assert own.total() == 2.0
    assert own.kinds == {"modelled"}
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        shared.attributed({"gpu:0": 1.5})


def test_windows_add_only_what_both_have():
    both = spent(gpu=1, wall=5) + spent(gpu=2)
    assert (both.total(), both.seconds) == (3.0, 2.0)


def test_processor_time_is_measured_and_joules_by_rates_are_modelled():
    with EnergyMonitor([ProcessTime(), StatedWatts(20.0, idle_watts=3.0)]) as monitor, monitor.window("x") as window:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    cpu_seconds = window.spent.total(Unit.CPU_SECONDS)
    assert 0.05 <= cpu_seconds < 0.1
    assert window.spent.total() == pytest.approx(20 * cpu_seconds + 3 * window.spent.seconds, rel=0.05)
    assert window.spent.domains["cpu-model"].provenance is Provenance.MODELLED
    with pytest.raises(ValueError, match="watts_per_cpu_second must be a power"):
        StatedWatts(-1.0)


def test_no_meter_gives_its_reason():
    with pytest.raises(MeterFailed, match="no meter"), EnergyMonitor([NoMeter()]).window("x"):
        pass


def powercap(root, **zones):
    """A planted folder of counters: zone -> (label, microjoules, range)."""
    for zone, (label, count, most) in zones.items():
        folder = root / zone.replace("_", "-").replace("Z", ":")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(label + "\n")
        (folder / "energy_uj").write_text(f"{count}\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return root


PACKAGE, RANGE = "intel_raplZ0", 1 << 38


def test_rapl_unwraps_its_counter(tmp_path):
    root = powercap(tmp_path, intel_raplZ0=("package-0", 900, 1000))
    with EnergyMonitor([RAPL(root, tick_s=None)]) as monitor:
        monitor.begin_window("x")
        powercap(tmp_path, intel_raplZ0=("package-0", 100, 1000))
        assert monitor.end_window("x").total() == pytest.approx(200e-6)


def test_rapl_parts_are_not_added_to_what_contains_them(tmp_path):
    zones = {
        "intel_raplZ0": "package-0",
        "intel_raplZ0Z0": "core",
        "intel_raplZ0Z1": "dram",
        "intel_raplZ1": "package-1",
        "intel_rapl_mmioZ0": "package-0",
    }
    powercap(tmp_path, **{zone: (label, 0, RANGE) for zone, label in zones.items()})
    meter = RAPL(tmp_path, tick_s=None)
    assert set(meter.domains()) == {"cpu-package:0", "cpu-core:0", "memory:0", "cpu-package:1"}
    with EnergyMonitor([meter]) as monitor:
        monitor.begin_window("x")
        counts = dict(zip(zones, (7, 5, 2, 1, 7), strict=True))
        powercap(tmp_path, **{zone: (zones[zone], count * 10**6, RANGE) for zone, count in counts.items()})
        assert monitor.end_window("x").total() == pytest.approx(7 + 2 + 1)


def test_rapl_of_a_whole_board_contains_all(tmp_path):
    powercap(tmp_path, intel_raplZ0=("package-0", 0, RANGE), intel_raplZ1=("psys", 0, RANGE))
    domains = RAPL(tmp_path).domains()
    assert domains["cpu-package:0"].inside == {"psys"}
    assert not domains["psys"].inside


def test_rapl_drops_a_package_that_mirrors_another(tmp_path, monkeypatch):
    powercap(tmp_path, intel_raplZ0=("package-0", 0, RANGE), intel_raplZ1=("package-1", 50, RANGE))
    powercap(tmp_path, intel_raplZ2=("package-2", 0, RANGE))
    polls = iter(range(1, 10))

    def grow(_seconds):
        k = next(polls)
        powercap(tmp_path, intel_raplZ0=("package-0", k**2, RANGE), intel_raplZ1=("package-1", 50 + k**2, RANGE))
        powercap(tmp_path, intel_raplZ2=("package-2", k**3, RANGE))

    monkeypatch.setattr("intaglio.meters.rapl.time.sleep", grow)
    assert set(RAPL(tmp_path).domains()) == {"cpu-package:0", "cpu-package:2"}


def test_rapl_says_what_is_missing(tmp_path):
    assert RAPL(tmp_path).available().state == "unsupported"
    root = powercap(tmp_path, intel_raplZ0=("package-0", 0, RANGE))
    assert RAPL(root).available()
    (root / "intel-rapl:0/energy_uj").write_text("broken")
    with pytest.raises(MeterFailed, match="gave no number"):
        RAPL(root).read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_rapl_without_permission_names_the_remedy(tmp_path):
    root = powercap(tmp_path, intel_raplZ0=("package-0", 0, RANGE))
    (root / "intel-rapl:0/energy_uj").chmod(0)
    found = RAPL(root).available()
    assert found.state == "no-permission"
    assert "udev" in found.why


def test_rapl_that_was_not_read_for_long_is_not_guessed(tmp_path, monkeypatch):
    meter = RAPL(powercap(tmp_path, intel_raplZ0=("package-0", 0, RANGE)))
    meter.read()
    later = time.monotonic() + 2 * 3600
    monkeypatch.setattr("intaglio.meters.rapl.time.monotonic", lambda: later)
    with pytest.raises(MeterFailed, match="may have wrapped twice"):
        meter.read()


def test_meters_of_a_device_say_why_they_are_absent():
    found = meters_for("cuda:0")
    assert {meter.name for meter in found.meters} | {name for name, _ in found.absent} == {"nvml-counter", "rapl"}
    for name, availability in found.absent:
        assert f"{name}: {availability.why}" in found.why_not


def test_of_several_meters_of_one_hardware_the_first_that_reads_is_taken(monkeypatch):
    good, better = (replay(0.0, name=name) for name in ("good", "better"))
    reasons = (("add a rule", "barred"), ("same", "a"), ("same", "b"))
    barred, lacking, foreign = (NoMeter(why, name) for why, name in reasons)
    states = {"barred": "no-permission", "a": "unsupported", "b": "unsupported"}
    monkeypatch.setattr(NoMeter, "available", lambda self: Availability(states[self.name], self.why))
    hardware = [[lacking, good, better], [foreign, barred], [foreign]]
    monkeypatch.setattr(machine_meters, "_candidates", lambda device: hardware)
    found = meters_for("cpu")
    assert [meter.name for meter in found.meters] == ["good"]
    assert found.why_not == "barred: add a rule; b: same"


def test_meters_that_only_estimate_measure_nothing():
    estimate = replay(0.0, domain=replace(GPU, provenance=Provenance.VENDOR_ESTIMATE), name="guess")
    found = FoundMeters((replay(0.0), estimate), ()).measuring
    assert [meter.name for meter in found.meters] == ["replay"]
    assert "guess: its figures are estimates of the vendor" in found.why_not


def test_the_rails_of_a_jetson_speak_for_its_accelerator_too(monkeypatch, tmp_path):
    new_sensor = tmp_path / "ina3221/1-0040/hwmon/hwmon1"
    new_sensor.mkdir(parents=True)
    for name, value in (("in1_label", "VDD_IN"), ("in1_input", "5000"), ("curr1_input", "100")):
        (new_sensor / name).write_text(value)
    monkeypatch.setattr(machine_meters, "JetsonRails", lambda: JetsonRails(tmp_path))
    found = meters_for("cuda:0")
    assert [meter.name for meter in found.meters] == ["jetson"]
    assert found.why_not == ""
