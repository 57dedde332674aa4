"""The programs of a tiny llama: what a step costs, what the shaders ask of a device, and that every
buffer that a step binds is there. No GPU; e2e runs them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.compile import wgsl
from tests.compile.tiny_request import CONFIG, request_of
from transom_compile.library_request import LibraryRequest
from transom_compile.program import build_program
from transom_compile.program_graph import MAX_ROWS
from transom_compile.wgsl import shaders

WORKGROUP_BYTES, STORAGE_BUFFERS, INVOCATIONS = 16 * 1024, 8, 256
"""What WebGPU promises of every device. No exception here: a program is only ours."""
CHOOSERS = {
    "adjust", "greedy", "draw_all", "draw_top", "draw_sorted", "rank", "rank_chosen",
}  # fmt: skip
FORWARD = {"decode", "batch", "prefill"}
DISPATCHES_PER_LAYER = 5
SHARED = {
    "inputs", "tokens", "table", "history", "logits", "adjusted", "samplers", "bias_ids",
    "bias_values", "mask", "ranked", *(f"pages_{layer}" for layer in range(CONFIG.block_count)),
}  # fmt: skip
"""The buffers that the page's engine makes (`shared-buffers.ts`)."""
KINDS = [("float32", "gpu"), ("float32", "fallback"), ("float16", "gpu")]


def wanted(dtype: str, schedule: str) -> LibraryRequest:
    return replace(request_of(compute_dtype=dtype, schedule=schedule), product="program")


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    found: tuple[str, str] = request.param
    return found


@pytest.fixture(scope="module")
def program(kind: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("program") / "program.json"
    build_program(wanted(*kind), path)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.fixture(scope="module")
def read(program: dict[str, Any]) -> dict[str, wgsl.Shader]:
    """Each kernel as the tests' own reader of WGSL sees it."""
    found = {}
    for name, kernel in program["kernels"].items():
        (found[name],) = wgsl.shaders(kernel["wgsl"]).values()
    return found


def test_a_step_is_five_dispatches_a_layer(program: dict[str, Any], kind: tuple[str, str]) -> None:
    functions = program["functions"]
    assert set(functions) == FORWARD | CHOOSERS
    # Around the layers: the token's embedding, and the logits with the last norm in them. The first
    # norm follows no product that could hand it on.
    around = 3 if kind[1] == "fallback" else 2
    steps = functions["decode"]["steps"]
    assert len(steps) == DISPATCHES_PER_LAYER * CONFIG.block_count + around
    assert len(functions["greedy"]["steps"]) == 2
    assert functions["decode"]["most"] == 1
    assert functions["prefill"]["most"] == program["prefill_chunk"]
    assert all(functions[name]["most"] == MAX_ROWS for name in CHOOSERS | {"batch"})


def test_every_device_can_run_the_shaders(read: dict[str, wgsl.Shader]) -> None:
    for name, shader in read.items():
        assert shader.workgroup_bytes <= WORKGROUP_BYTES, name
        assert 1 <= shader.storage_buffers <= STORAGE_BUFFERS, name
        assert shader.invocations <= INVOCATIONS, name


def test_only_the_gpu_schedule_meets_at_barriers(
    kind: tuple[str, str], read: dict[str, wgsl.Shader]
) -> None:
    assert any(shader.has_barrier for shader in read.values()) == (kind[1] == "gpu")


def test_only_f16_needs_shader_f16(kind: tuple[str, str], read: dict[str, wgsl.Shader]) -> None:
    assert any("enable f16" in shader.text for shader in read.values()) == (kind[0] == "float16")


def test_what_a_step_binds_is_there(program: dict[str, Any]) -> None:
    for name, function in program["functions"].items():
        for step in function["steps"]:
            kernel = program["kernels"][step["kernel"]]
            assert len(step["buffers"]) == len(kernel["writes"]), name
            assert len(step["scalars"]) == len(kernel["scalars"]) - 1, name
            assert kernel["scalars"][-1] == "packGridDimX"
            assert set(kernel["scalars"][:-1]) <= {"n"}, "a kernel is told what only a host knows"
            for place, *rest in step["buffers"]:
                match place:
                    case "param":
                        assert rest[0] < len(program["params"])
                    case "storage":
                        assert rest[0] < len(program["storages"])
                    case _:
                        assert place == "shared"
                        assert rest[0] in SHARED, (name, rest)


def test_no_step_reads_and_writes_one_buffer_by_two_bindings(program: dict[str, Any]) -> None:
    """WebGPU refuses it: a buffer is written by one binding, or read by any."""
    for name, function in program["functions"].items():
        for step in function["steps"]:
            writes = program["kernels"][step["kernel"]]["writes"]
            places = [tuple(place) for place in step["buffers"]]
            # `tokens` is the beginning of `inputs`.
            places = [("shared", "inputs") if p == ("shared", "tokens") else p for p in places]
            for place, written in zip(places, writes, strict=True):
                assert not written or places.count(place) == 1, (name, step["kernel"])


def test_logits_come_last(program: dict[str, Any]) -> None:
    for name in FORWARD:
        last = program["functions"][name]["steps"][-1]
        assert ["shared", "logits"] in last["buffers"], name


def test_memory_is_told(program: dict[str, Any], kind: tuple[str, str]) -> None:
    item = 2 if kind[0] == "float16" else 4
    memory = program["memory"]
    assert memory["kv_bytes_per_token"] == 2 * CONFIG.block_count * CONFIG.head_dim * item
    assert memory["scratch"] == sum(program["storages"])
    assert memory["weights"] > 0


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    for path in (first, again):
        build_program(wanted("float32", "fallback"), path)
    assert first.read_bytes() == again.read_bytes()


def test_a_shader_without_a_uniform_is_no_kernel_of_ours() -> None:
    header = "// Function: bare_kernel\n//---\n// Function: bare_kernel\n"
    text = header + "@compute @workgroup_size(1, 1, 1)\nfn bare_kernel() {}\n"
    with pytest.raises(ValueError, match="bindings of bare"):
        shaders(text)
