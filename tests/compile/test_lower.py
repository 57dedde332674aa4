"""The shaders of a tiny llama's libraries: what they ask of a device, and whether constants
survive. No GPU: the WGSL is read as text."""

import math
import re
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm.target import Target

from tests.compile import kernel_runner, wgsl
from tests.compile.tiny_request import CONFIG, request_of
from tests.compile.wgsl import Shader
from transom_compile import lower
from transom_compile.kernels import linear, linear_spec
from transom_compile.kernels.emit import buffer_arg, each, exact, halved, kernel, let, store
from transom_models.architecture import load_architecture

WORKGROUP_BYTES = 16 * 1024
"""WebGPU's default maxComputeWorkgroupStorageSize."""
STORAGE_BUFFERS = 10
"""What WebLLM asks of a device; WebGPU's default is 8."""
INVOCATIONS = 256
"""WebGPU's default maxComputeInvocationsPerWorkgroup."""
TVM_F16_ATTENTION_BYTES = {"batch_prefill_ragged_kv": 16_768, "batch_prefill_paged_kv": 16_768}
"""The exceptions: TVM's own tiles. WebLLM asks every device for 32 KiB; who runs this must too."""

LIBRARIES = [("float32", "gpu"), ("float32", "fallback"), ("float16", "gpu")]


@pytest.fixture(scope="module", params=LIBRARIES, ids="-".join)
def library(request: pytest.FixtureRequest) -> tuple[str, str, Any]:
    """(dtype, schedule, executable): all phases of `build_library` but the link."""
    dtype, schedule = request.param
    wanted = request_of(compute_dtype=dtype, schedule=schedule)
    architecture = load_architecture("llama")
    target = Target({"kind": "webgpu", "host": lower.WASM_HOST})
    module = lower._graph(wanted, architecture)
    cache = architecture.cache_spec(wanted.config, wanted.context_window)
    for passes in lower._phases(wanted, cache, target).values():
        with target, tvm.transform.PassContext(opt_level=3):
            module = tvm.transform.Sequential(passes)(module)
    with target:
        return dtype, schedule, lower._generate(module, target)


@pytest.fixture(scope="module")
def shaders(library: tuple[str, str, Any]) -> dict[str, Shader]:
    return wgsl.shaders(lower._shaders(library[2]))


def test_workgroup_memory_fits_every_device(
    library: tuple[str, str, Any], shaders: dict[str, Shader]
) -> None:
    too_much = {
        shader.name: shader.workgroup_bytes
        for shader in shaders.values()
        if shader.workgroup_bytes > WORKGROUP_BYTES
    }
    dtype, schedule, _ = library
    known = TVM_F16_ATTENTION_BYTES if (dtype, schedule) == ("float16", "gpu") else {}
    assert too_much == known


def test_the_longest_normed_row_fits_every_device() -> None:
    cols = linear_spec.MOST_NORMED_COLS
    gated = linear_spec.Epilogue(activation="silu", gated=True)
    spec = linear_spec.LinearSpec(
        "Q4_1", 64, cols, linear_spec.Phase.DECODE, "float32", "float32", gated, norm=1e-5
    )
    module = kernel_runner.module_of({"made": linear.linear(spec, "gpu")})
    made = wgsl.shaders(lower._shaders(kernel_runner.generate(module)))["made"]
    assert cols * 4 < made.workgroup_bytes <= WORKGROUP_BYTES
    with pytest.raises(ValueError, match="normed"):
        linear.linear(replace(spec, cols=cols + 32), "gpu")


def test_storage_buffers_and_invocations_fit(shaders: dict[str, Shader]) -> None:
    for shader in shaders.values():
        assert 1 <= shader.storage_buffers <= STORAGE_BUFFERS, shader.name
        assert shader.invocations <= INVOCATIONS, shader.name


def test_the_fallback_has_no_barrier(
    library: tuple[str, str, Any], shaders: dict[str, Shader]
) -> None:
    """None at all: neither ours nor TVM's helpers that copy and merge pages."""
    with_barrier = {shader.name for shader in shaders.values() if shader.has_barrier}
    if library[1] == "fallback":
        assert with_barrier == set()
    else:
        assert any(name.startswith("linear") for name in with_barrier), "the parser sees none"


def test_only_the_f16_library_needs_shader_f16(
    library: tuple[str, str, Any], shaders: dict[str, Shader]
) -> None:
    used = any("enable f16" in shader.text for shader in shaders.values())
    assert used == (library[0] == "float16")


def test_no_library_has_subgroups(shaders: dict[str, Shader]) -> None:
    """TVM's runtime does not ask a device for them."""
    assert [shader.name for shader in shaders.values() if "subgroup" in shader.text] == []


def test_one_device_module(library: tuple[str, str, Any]) -> None:
    """tvmjs builds pipelines ahead for one; a second target would make a second."""

    def count(module: Any) -> int:
        return sum((one.kind == "webgpu") + count(one) for one in module.imports)

    assert count(library[2].mod) == 1


def bits(value: float) -> int:
    found: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return found


def test_rotary_frequencies_are_in_the_shader_bit_for_bit(shaders: dict[str, Shader]) -> None:
    found = constants(shaders["split_rotary"].text)
    for i in range(CONFIG.head_dim // 2):
        assert bits(CONFIG.rope.theta ** (-2.0 * i / CONFIG.head_dim)) in found
    assert bits(1 / (2 * math.pi)) in found


def constants(text: str) -> set[int]:
    """Bit patterns of all f32 literals, and of all u32 ones that are read as f32."""
    plain = {bits(float(literal)) for literal in re.findall(r"(\d[\d.]*(?:e[+-]?\d+)?)f\b", text)}
    return plain | {int(literal) for literal in re.findall(r"bitcast<f32>\((\d+)u\)", text)}


def constant_kernel(values: list[float]) -> Any:
    """y[i] = x[0] + value, with every value written as `exact` has it."""
    with kernel("constants") as made:
        x = buffer_arg("x", (1,), "float32")
        y = buffer_arg("y", (len(values),), "float32")
        with each(1, 1):
            for i, value in enumerate(values):
                store(y, i, x[0] * exact(value))
    return made.prim_func


def test_exact_constants_survive_bit_for_bit() -> None:
    random = np.random.default_rng(0).integers(1, 0x7F80_0000, 200, dtype=np.uint32)
    values = [float(value) for value in random.view(np.float32)]
    values += [1e-5, 0.1, math.pi, 134_217_728.0, 1 / 3, 3.4028234663852886e38, 2.0**-126]
    # What prints in seven digits, and what TVM would fold (0 and 1).
    values += [0.5, 6.28125, 2.0**-10, 8.0]
    executable = kernel_runner.generate(kernel_runner.module_of({"made": constant_kernel(values)}))
    text = lower._shaders(executable)
    found = constants(text)
    missing = [value for value in values if bits(value) not in found]
    assert missing == []


@pytest.mark.parametrize("times", range(1, 29))
def test_halved_divides_by_a_power_of_two_exactly(times: int) -> None:
    with kernel("halves") as made:
        x = buffer_arg("x", (1,), "float32")
        y = buffer_arg("y", (1,), "float32")
        with each(1, 1):
            store(y, 0, halved(let(x[0]), times))
    executable = kernel_runner.generate(kernel_runner.module_of({"made": made.prim_func}))
    literals = re.findall(r"(\d[\d.]*(?:e[+-]?\d+)?)f\b", lower._shaders(executable))
    assert math.prod(float(literal) for literal in literals) == 0.5**times
