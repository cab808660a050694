"""What PyTorch sees of this machine: clocks, memory in use, and how running out of it shows."""

from __future__ import annotations

import gc
import os
import platform
import re
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError, UsageError
from pipeline.evidence.extras import library
from pipeline.evidence.measure.sweep import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MISSING = 'measuring needs PyTorch and transformers: pip install "capgrid[measure]"'
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "process": time.process_time}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What resets VmHWM. Source: Linux, proc_pid_clear_refs(5)."""
GLIBC, M_MMAP_THRESHOLD = "libc.so.6", -3
EXACT_BYTES, USUAL_BYTES = 2**16, 2**25
"""Sizes from which malloc maps blocks: small for an exact peak, large for speed."""
NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "out of memory")
ARCHITECTURES = (  # compute capability, and our name of the architecture
    {(7, 0): "volta", (7, 5): "turing", (8, 9): "ada", (9, 0): "hopper", (10, 3): "blackwell-ultra"}
    | dict.fromkeys([(8, 0), (8, 6), (8, 7)], "ampere")
    | dict.fromkeys([(10, 0), (12, 0), (12, 1)], "blackwell")
)
AMD = (("gfx90a", "cdna2"), ("gfx942", "cdna3"), ("gfx950", "cdna4"), ("gfx11", "rdna3"), ("gfx12", "rdna4"))


@dataclass(frozen=True)
class Machine:
    """One device of PyTorch: `cpu`, or `cuda` (NVIDIA, and AMD through ROCm)."""

    torch: Any
    device: str
    clock: Callable[[], float]

    @property
    def is_cpu(self) -> bool:
        """Whether it is the processor itself."""
        return self.device == "cpu"

    def now(self) -> float:
        """The time, when all that was asked for is done."""
        if not self.is_cpu:
            self.torch.cuda.synchronize(self.device)
        return self.clock()

    def free(self) -> None:
        """Give cached memory back, so that one run does not hide another's."""
        gc.collect()  # what failed may still be held by its own traceback
        if self.is_cpu:
            trim()
        else:
            self.torch.cuda.empty_cache()

    def reset_peak(self) -> None:
        """Forget the largest memory in use."""
        if not self.is_cpu:
            self.torch.cuda.reset_peak_memory_stats(self.device)
        elif CLEAR.exists():
            CLEAR.write_text(RESET_PEAK, encoding="ascii")

    def used_bytes(self) -> int:
        """Memory in use now: tensors on a GPU, resident memory of this process on a processor."""
        return resident("VmRSS") if self.is_cpu else int(self.torch.cuda.memory_allocated(self.device))

    def peak_bytes(self) -> int:
        """Largest memory in use since: tensors on a GPU, resident memory of this process on a processor."""
        return resident("VmHWM") if self.is_cpu else int(self.torch.cuda.max_memory_allocated(self.device))

    def exact(self, *, on: bool) -> None:
        """Return a processor's memory as soon as a tensor is gone, so that the peak is that of tensors; it is slower.

        A process that once had it off keeps memory in pieces: measure memory first.
        """
        if self.is_cpu:
            set_mmap_threshold(EXACT_BYTES if on else USUAL_BYTES)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Where memory runs out inside, say so in our words."""
        try:
            yield
        except (self.torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemory from error
        except RuntimeError as error:
            if any(words in str(error) for words in NO_MEMORY):
                raise OutOfMemory from error
            raise

    @property
    def name(self) -> str:
        """What the device is called."""
        if not self.is_cpu:
            return str(self.torch.cuda.get_device_name(self.device))
        threads = self.torch.get_num_threads()
        return f"{processor()}, {threads} {'thread' if threads == 1 else 'threads'}"

    @property
    def total_bytes(self) -> int:
        """Memory as the driver, or the operating system, shows it."""
        if not self.is_cpu:
            return int(self.torch.cuda.mem_get_info(self.device)[1])
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    @property
    def architecture(self) -> str:
        """Our name of the architecture; "cpu" of a processor, empty where it is not known."""
        if self.is_cpu:
            return "cpu"
        said = self.torch.cuda.get_device_properties(self.device)
        gfx = str(getattr(said, "gcnArchName", ""))
        amd = next((name for start, name in AMD if gfx.startswith(start)), "")
        return amd if gfx.startswith("gfx") else ARCHITECTURES.get((said.major, said.minor), "")


def find_machine(device: str | None, threads: int | None, clock: str) -> Machine:
    """The device that is asked for; where nobody asks, a GPU before the processor.

    Raises:
        PipelineError: PyTorch is not installed, or sees no such device.
        UsageError: processor time of a GPU, or of several threads, which is no waiting time.
    """
    torch = library("torch", MISSING)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise PipelineError("PyTorch sees no CUDA device here; use --device cpu, or install a CUDA or ROCm build of it")
    if threads:
        torch.set_num_threads(threads)
    if clock == "process" and (device != "cpu" or torch.get_num_threads() != 1):
        raise UsageError("--clock process is for --device cpu --threads 1: nothing else waits as long as it works")
    return Machine(torch, device, CLOCKS[clock])


def slug(name: str) -> str:
    """A name as an id of a catalog.

    >>> slug("NVIDIA H100 80GB HBM3"), slug("AMD EPYC, 2 threads")
    ('nvidia-h100-80gb-hbm3', 'amd-epyc-2-threads')
    """
    return re.sub(r"[^a-z0-9._]+", "-", name.casefold()).strip("-")[:100]


def processor() -> str:
    """The processor's name."""
    told = Path("/proc/cpuinfo")
    text = told.read_text(encoding="utf-8", errors="replace") if told.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def resident(field: str) -> int:
    """Resident memory of this process: VmRSS now, VmHWM at most; where the system does not say, at most ever."""
    if STATUS.exists():
        found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(encoding="ascii"), flags=re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    resource = import_module("resource")
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def trim() -> None:
    """Give memory that malloc keeps back to the system, where it can be asked to."""
    with suppress(OSError, AttributeError):
        import_module("ctypes").CDLL(GLIBC).malloc_trim(0)


def set_mmap_threshold(size_bytes: int) -> None:
    """Let malloc take blocks from this size on from the system one by one, and give them back at once.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    with suppress(OSError, AttributeError):
        import_module("ctypes").CDLL(GLIBC).mallopt(M_MMAP_THRESHOLD, size_bytes)


@contextmanager
def memory_limited(limit_bytes: int | None) -> Iterator[None]:
    """Let the process have so much more memory, so that a batch that is too large fails instead of the machine.

    Source: setrlimit(2), RLIMIT_DATA: private mappings count, which is where tensors lie.
    """
    if not limit_bytes or sys.platform != "linux":
        yield
        return
    resource = import_module("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (resident("VmData") + limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
