"""Catalog entries of what was measured here, in a folder read beside the others: a device, an architecture, a shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomlkit

from pipeline.evidence.blocks import write_blocks
from pipeline.evidence.measure.probe import faster_half_format
from pipeline.facts.adding import inline_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from pipeline.evidence.measure.machine import Machine
    from pipeline.evidence.measure.probe import Probe
    from pipeline.facts.catalog import Catalogs

FILE = "measured.toml"
HEADER = "Measured by `capgrid measure`; read beside the catalogs that come with capgrid."
SOURCE, GUESSED = "measured-here", "assumption"
DIGITS = 4
GUESSES: dict[str, Any] = (  # of an architecture, what nobody measures on one device
    {"attention_ramp_tokens": 0.0, "ramp_ratio": 0.0, "collective_base_s": 5e-6, "link_ratio": 0.6, "pcie_ratio": 0.4}
    | dict.fromkeys(("linked_communicator_bytes", "pcie_communicator_bytes"), 0)
    | {"runs_fused_experts": False, "splits_attention": False, "fp4_output_multiple": 256, "fp4_input_multiple": 256}
)
VENDORS = ("amd", "nvidia", "intel", "apple")
Block = tuple[str, dict[str, Any]]


def device_blocks(machine: Machine, probe: Probe, catalogs: Catalogs, name: str) -> list[Block]:
    """The accelerator entry of this device, and its architecture where the catalogs have none of that name.

    The peaks are what was reached. Estimates take a share of a peak that kernels usually achieve:
    the ratios undo that share, so that they take the measured rates.
    """
    kernel = catalogs.frames["kernel"].filter(kernel="bf16").row(0, named=True)
    peak, bytes_per_s = probe.flop_per_s[faster_half_format(probe)], probe.copy_bytes_per_s
    architecture = machine.architecture or f"{name}-architecture"
    flop_ratio = 1 / kernel["flop_ratio"]
    bytes_ratio = min(2.0, probe.read_bytes_per_s / (kernel["bytes_ratio"] * bytes_per_s))
    rates = {form: rate for form in ("fp16", "bf16") if (rate := probe.flop_per_s.get(form, 0.0)) >= peak / 2}
    device = (
        {"accelerator": name, "name": machine.name, "vendor": vendor(machine.name), "architecture": architecture}
        | {"device_class": "cpu" if machine.is_cpu else "datacenter"}
        | dict.fromkeys(("badge_memory_bytes", "device_memory_bytes"), machine.total_bytes)
        | {"memory_bytes_per_s": digits(bytes_per_s)}
        | {f"{form}_flop_per_s": digits(rate) for form, rate in rates.items()}
        | {"achieved_flop_ratio": digits(flop_ratio), "achieved_bytes_ratio": digits(bytes_ratio), "node_devices": 1}
        | {"verdict": "confirmed", "source": SOURCE}
        | {"source_of": dict.fromkeys(("device_class", "node_devices", "badge_memory_bytes"), GUESSED)}
    )
    if machine.architecture:
        return [("accelerator", device)]
    reached = (peak * flop_ratio, bytes_per_s * bytes_ratio)
    return [("accelerator", device), ("architecture", architecture_block(architecture, probe, *reached))]


def architecture_block(name: str, probe: Probe, flop_per_s: float, bytes_per_s: float) -> dict[str, Any]:
    """An architecture as far as one device tells it; the rest is assumed, and says so."""
    return {
        "architecture": name,
        "name": f"{name}, as one device of it shows",
        "attention_launch_s": digits(probe.launch_s),
        "attention_bytes_ratio": digits(min(1.0, probe.decode_bytes_per_s / bytes_per_s)),
        "attention_flop_ratio": digits(min(1.0, probe.prompt_flop_per_s / flop_per_s)),
        **GUESSES,
        "source": SOURCE,
        "source_of": dict.fromkeys(GUESSES, GUESSED),
    }


def digits(value: float) -> float:
    """A figure with as many digits as a measurement is worth."""
    return float(f"{value:.{DIGITS}g}")


def vendor(name: str) -> str:
    """Who made a device, by the first word that says so.

    >>> vendor("AMD EPYC, 2 threads"), vendor("NVIDIA H100 80GB HBM3"), vendor("Neoverse")
    ('amd', 'nvidia', 'unknown')
    """
    return next((who for who in VENDORS if who in name.casefold()), "unknown")


def model_block(entry: Mapping[str, Any], name: str) -> Block:
    """The entry of a shape that the catalogs do not have."""
    said = {field: value for field, value in entry.items() if value is not None and field != "model"}
    return "model", {"model": name, **said, "source": SOURCE}


def put_entries(folder: Path, blocks: Sequence[Block], on: date, load: Callable[[Path], object]) -> Path:
    """Put entries into the folder's file, in place of those of the same id, and read the folder to see that it stands.

    Raises:
        CatalogError: it would not load, or cannot be written; nothing is changed then.
    """
    write_blocks(folder / FILE, HEADER, [(kind, entry_table(values, on)) for kind, values in blocks], load)
    return folder / FILE


def entry_table(values: Mapping[str, Any], on: date) -> tomlkit.items.Table:
    """One entry, opened by the day on which it was measured."""
    made = tomlkit.table()
    made.add(tomlkit.comment(f"measured here, {on}"))
    made.update({name: inline_table(value) if isinstance(value, dict) else value for name, value in values.items()})
    return made
