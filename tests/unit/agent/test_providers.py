"""Execution providers: named shortly, taken in order, told where they are missing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edgehaul.config.device import DeviceConfig
from edgehaul.config.engine import PROVIDERS, EngineSection
from edgehaul.config.loader import load_text
from edgehaul.errors import ConfigError, UsageError
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.inference.machine import cpu_id
from edgehaul_agent.inference.providers import choose_providers, options_of
from tests.fakes.models import write_tiny_detector

ALL = tuple(PROVIDERS.values())
HEAD = "root: device\ndevice: {id: box-1, site: depot}\nengine: "


def section(text: str) -> EngineSection:
    return load_text(HEAD + text, DeviceConfig, where="d.yaml").engine


@pytest.mark.parametrize("short", sorted(PROVIDERS))
def test_a_short_name_means_the_long_one(short: str) -> None:
    assert section(f"{{providers: [{short}]}}").provider_names == (PROVIDERS[short],)
    assert EngineSection(providers=(PROVIDERS[short],)).provider_names == (PROVIDERS[short],)


def test_the_processor_is_the_default() -> None:
    assert EngineSection().provider_names == ("CPUExecutionProvider",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{providers: [cdua]}", "did you mean 'cuda'"),
        ("{providers: [gpu9]}", "use one of cpu, cuda"),
        ("{providers: [ExecutionProvider]}", "unknown execution provider"),
        ("{providers: [cpu, CPUExecutionProvider]}", "must differ"),
        ("{providers: []}", "one at least"),
        ("{options: {cuda: {device_id: '1'}}}", "not among providers"),
        ("{runtime: openvino, providers: [cuda]}", "ONNX Runtime's"),
        ("{runtime: tflite}", "openvino"),
        ("{warmup_runs: -1}", "at least 0"),
    ],
)
def test_a_slip_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        section(text)
    assert words in "\n".join(caught.value.faults)


def test_those_that_are_here_are_taken_in_order(caplog: pytest.LogCaptureFixture) -> None:
    wanted = section("{providers: [tensorrt, cuda, cpu]}")
    assert choose_providers(wanted, ALL) == wanted.provider_names
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        chosen = choose_providers(wanted, ("CPUExecutionProvider", "CUDAExecutionProvider"))
    assert chosen == ("CUDAExecutionProvider", "CPUExecutionProvider")
    (record,) = caplog.records
    assert "has no TensorrtExecutionProvider; models run on CUDA" in record.getMessage()


def test_none_at_all_is_an_error_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"none of the configured.*Cuda.*has Other") as caught:
        choose_providers(
            EngineSection(providers=("CudaExecutionProvider",)), ("OtherExecutionProvider",)
        )
    assert caught.value.exit_code == 2


def test_configured_options_override_the_agents_own(tmp_path: Path) -> None:
    wanted = EngineSection(
        providers=("tensorrt", "xnnpack"),
        options={"tensorrt": {"trt_fp16_enable": "1", "trt_timing_cache_enable": "0"}},
    )
    tensorrt = options_of("TensorrtExecutionProvider", wanted, tmp_path, 2)
    assert tensorrt["trt_engine_cache_path"] == str(tmp_path / "tensorrt")
    assert (tensorrt["trt_fp16_enable"], tensorrt["trt_timing_cache_enable"]) == ("1", "0")
    assert options_of("XnnpackExecutionProvider", wanted, tmp_path, 2) == {
        "intra_op_num_threads": "2"
    }


def test_a_provider_that_is_missing_leaves_the_processor(tmp_path: Path) -> None:
    model = write_tiny_detector(tmp_path / "tiny.onnx")
    opener = EngineOpener(EngineSection(providers=("xnnpack", "cpu")), tmp_path)
    assert opener.open(model).providers == ("CPUExecutionProvider",)
    assert opener.machine.providers == ("CPUExecutionProvider",)
    assert opener.machine.runtime.startswith("onnxruntime 1.")
    with pytest.raises(UsageError, match="Xnnpack"):
        EngineOpener(EngineSection(providers=("xnnpack",)), tmp_path).open(model)


X86 = "model name\t: {name}\nmicrocode\t: {microcode}\ncpu MHz\t: {microcode}\nflags\t: {flags}\n"


def test_a_processor_is_known_by_name_and_instructions(tmp_path: Path) -> None:
    def known(name: str = "EPYC", microcode: str = "1", flags: str = "avx2 sse") -> str:
        facts = tmp_path / "cpuinfo"
        facts.write_text(2 * X86.format(name=name, microcode=microcode, flags=flags))
        return cpu_id(facts)

    assert known().split()[1] == "EPYC"
    assert known() == known(microcode="2") == known(flags="sse avx2")
    assert len({known(), known(name="Xeon"), known(flags="avx2 sse avx512_vnni")}) == 3
    assert cpu_id(tmp_path / "none")
    assert cpu_id() == cpu_id()


def test_both_kinds_of_cores_of_a_board_are_named(tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    core = "CPU implementer\t: 0x41\nCPU part\t: {}\nFeatures\t: asimd {}\n"
    facts.write_text(core.format("0xd05", "") + core.format("0xd0a", "asimddp"))
    assert " 0x41 0xd05 0xd0a " in cpu_id(facts)
