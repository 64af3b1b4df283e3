"""onnxruntime sessions with fixed threads, bounded memory, and a plain word about what really runs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from understudy.errors import ConfigError, InvalidInputError

_LOG = logging.getLogger(__name__)
CPU = "CPUExecutionProvider"
SHORT_NAMES = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
"""Execution providers by the names that configs may use beside onnxruntime's own."""


@dataclass(frozen=True)
class ProviderReport:
    """Which execution providers were asked for, and which one runs."""

    requested: tuple[str, ...]
    running: str
    fell_back: bool
    shares: Mapping[str, int] = field(default_factory=dict)
    """Operators that each provider runs; empty where only the CPU was asked for."""

    def __str__(self) -> str:
        if self.fell_back:
            return f"asked for {self.requested[0]}, which is not usable here: running on {self.running}"
        if self.shares:
            counts = ", ".join(f"{n} operators on {name}" for name, n in sorted(self.shares.items()))
            return f"running on {self.running} ({counts})"
        return f"running on {self.running}"


@dataclass(frozen=True)
class Session:
    """A network that is ready to run; may be shared by threads."""

    name: str
    input_names: tuple[str, ...]
    input_shapes: tuple[tuple[int | str | None, ...], ...]
    output_names: tuple[str, ...]
    provider_report: ProviderReport
    _session: onnxruntime.InferenceSession

    def run(
        self, inputs: Mapping[str, NDArray[np.generic]], outputs: Sequence[str] | None = None
    ) -> list[NDArray[np.float32]]:
        """Run the network once.

        Parameters
        ----------
        inputs : mapping of name to array
        outputs : sequence of str, optional
            Which outputs, and in which order; all of them where left out.

        Returns
        -------
        list of arrays
        """
        if set(inputs) != set(self.input_names):
            raise InvalidInputError(f"{self.name} takes the inputs {self.input_names}, got {tuple(inputs)}")
        names = list(self.output_names if outputs is None else outputs)
        return list(self._session.run(names, dict(inputs)))


def open_session(
    network: str | Path | bytes,
    *,
    providers: Sequence[str] = (CPU,),
    n_threads: int = 1,
    varying_shapes: bool = False,
) -> Session:
    """Open an ONNX network.

    Parameters
    ----------
    network : path or bytes
    providers : sequence of str
        Execution providers in the order of preference, by onnxruntime's names or by ``SHORT_NAMES``. The CPU always
        comes last; where another one was asked for and is not usable, or runs nothing of this network, that is logged
        as a warning and stands in ``provider_report``.
    n_threads : int
        Threads of one operator. With a fixed number a picture gives the same bytes every time.
    varying_shapes : bool
        Inputs of many sizes: no plan of memory is kept for each size.

    Raises
    ------
    ConfigError
        The network cannot be read, or a provider's name is none of onnxruntime's.
    """
    if n_threads < 1:
        raise ConfigError(f"n_threads must be 1 or more, got {n_threads}")
    requested = full_names(providers)
    available = set(onnxruntime.get_available_providers())
    usable = [name for name in dict.fromkeys((*requested, CPU)) if name in available]
    source = bytes(network) if isinstance(network, bytes) else str(network)
    name = "network" if isinstance(network, bytes) else Path(network).name
    try:
        options = _options(n_threads, varying_shapes)
        options.add_session_config_entry("session.record_ep_graph_assignment_info", str(int(usable != [CPU])))
        session = onnxruntime.InferenceSession(source, options, providers=usable)
    except Exception as error:  # onnxruntime's exception classes are generated and share no public base
        raise ConfigError(f"onnxruntime cannot open {name}: {error}") from error
    running, shares = session.get_providers()[0], {} if usable == [CPU] else _shares(session)
    if shares and not shares.get(running):
        running = max(shares, key=lambda provider: shares[provider])
    report = ProviderReport(requested, running, running != requested[0], shares)
    if report.fell_back:
        _say_once(str(report))
    return Session(
        name=name,
        input_names=tuple(item.name for item in session.get_inputs()),
        input_shapes=tuple(tuple(item.shape) for item in session.get_inputs()),
        output_names=tuple(item.name for item in session.get_outputs()),
        provider_report=report,
        _session=session,
    )


@lru_cache(maxsize=100)
def _say_once(text: str) -> None:
    """Log a warning, once for all networks of the process."""
    _LOG.warning("networks: %s", text)


def full_names(providers: Sequence[str]) -> tuple[str, ...]:
    """Execution providers by onnxruntime's names, where ``SHORT_NAMES`` may be among them; the CPU where there is none.

    Raises
    ------
    ConfigError
        onnxruntime knows no such provider.
    """
    names = tuple(SHORT_NAMES.get(provider, provider) for provider in providers) or (CPU,)
    unknown = sorted(set(names) - set(onnxruntime.get_all_providers()))
    if unknown:
        raise ConfigError(
            f"unknown onnxruntime providers {unknown}: give {', '.join(SHORT_NAMES)}, or one of its own names; "
            f"available here: {', '.join(available_providers())}"
        )
    return names


def available_providers() -> list[str]:
    """Execution providers of this installation of onnxruntime, the CPU last."""
    return [str(name) for name in onnxruntime.get_available_providers()]


def _shares(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """How many operators each provider runs, where this onnxruntime can tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return {}
    counts: Counter[str] = Counter()
    for part in tell():
        counts[str(part.ep_name)] += len(part.get_nodes())
    return dict(counts)


def bound_memory(memory_mb: int) -> None:
    """Bound what onnxruntime's networks of this process may take together; before the first of them is opened.

    Raises
    ------
    ConfigError
        Networks run without a bound, or with another one, already.
    """
    if memory_mb < 1:
        raise ConfigError(f"memory_mb must be 1 or more, got {memory_mb}")
    if _BOUND.setdefault("mb", memory_mb) != memory_mb:
        raise ConfigError(f"onnxruntime is bound to {_BOUND['mb']} MB in this process, it cannot be {memory_mb} MB too")
    if _register_arena.cache_info().currsize and "used" not in _BOUND:
        raise ConfigError("onnxruntime runs without a bound in this process already: set memory_mb from the start")


_BOUND: dict[str, int] = {}


def _options(n_threads: int, varying_shapes: bool) -> onnxruntime.SessionOptions:
    _register_arena()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.enable_mem_pattern = not varying_shapes
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@lru_cache(maxsize=1)
def _register_arena() -> None:
    """One arena for every session of the process, growing by what is asked for and not by powers of two.

    Measured with CenterFace at 1920x1088: 430 MB instead of 730 MB, at the same speed; without an arena, or with one
    that shrinks after each run, a pass takes 1.4 to 1.8 times as long.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    settings = {"arena_extend_strategy": 1}  # as requested
    if "mb" in _BOUND:
        settings["max_mem"], _BOUND["used"] = _BOUND["mb"] << 20, 1
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(settings))
