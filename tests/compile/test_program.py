"""The programs of a tiny llama: what a step costs, what the shaders ask of a device, and that every
buffer that a step binds is there. No GPU; e2e runs them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.compile import wgsl
from tests.compile.tiny_request import CONFIG, request_of
from transom_compile.kernels.linear_spec import SUBGROUP_THREADS
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


def test_only_fallback_products_may_run_another_kernel_instead(
    program: dict[str, Any], kind: tuple[str, str]
) -> None:
    kernels = program["kernels"]
    for step in steps_of(program):
        is_product = step["kernel"].startswith("linear_")
        assert ("instead" in step) == (is_product and kind[1] == "fallback"), step["kernel"]
        if "instead" in step:
            plain, other = kernels[step["kernel"]], kernels[step["instead"]["kernel"]]
            assert other["writes"] == plain["writes"], step["kernel"]
            assert other["scalars"] == plain["scalars"], step["kernel"]
            assert len(step["instead"]["grid"]) == 2


def test_only_kernels_that_run_instead_need_subgroups(
    program: dict[str, Any], read: dict[str, wgsl.Shader]
) -> None:
    plain = {step["kernel"] for step in steps_of(program)}
    others = {step["instead"]["kernel"] for step in steps_of(program) if "instead" in step}
    assert not plain & others
    assert plain | others == set(program["kernels"])
    for name, kernel in program["kernels"].items():
        is_other = name in others
        assert kernel.get("subgroup_size") == (SUBGROUP_THREADS if is_other else None), name
        assert kernel["wgsl"].startswith("enable subgroups;") == is_other, name
        assert ("subgroup" in kernel["wgsl"]) == is_other, name
        if is_other:
            assert read[name].invocations % SUBGROUP_THREADS == 0, "a subgroup is not full"


def test_what_a_subgroup_shares_is_written_once(read: dict[str, wgsl.Shader]) -> None:
    """And not at every use, of which there is one for each row of the weight."""
    for name, shader in read.items():
        named = re.findall(r"let \w+ : f32 = (subgroupBroadcast\(\w+, \du\));", shader.text)
        assert len(named) == len(set(named)) == shader.text.count("subgroupBroadcast("), name


def steps_of(program: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for function in program["functions"].values() for step in function["steps"]]


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


SIGNATURE = "(\n  @builtin(workgroup_id) blockIdx : vec3<u32>\n) {\n"
BINDINGS = """
@group(0) @binding(0) var<storage, read_write> y_ptr : array<f32>;
struct PODArgs {
  packGridDimX: u32
}
@group(0) @binding(1) var<uniform> podArgs : PODArgs;
"""


def kernel_text(signature: str, body: str) -> str:
    header = "// Function: made_kernel\n//---\n// Function: made_kernel\n"
    entry = f"@compute @workgroup_size(8, 1, 1)\nfn made_kernel{signature}{body}}}\n"
    return header + BINDINGS + entry


def test_a_kernel_that_asks_for_its_lane_gets_subgroups() -> None:
    lane = "  let a : i32 = (subgroup_lane() & 7i) + subgroup_lane();\n"
    made = shaders(kernel_text(SIGNATURE, lane))["made"]
    assert made.by_subgroup
    assert made.text.startswith("enable subgroups;\n")
    assert "vec3<u32>,\n  @builtin(subgroup_invocation_id) subgroup_lane : u32\n) {" in made.text
    assert "let a : i32 = (i32(subgroup_lane) & 7i) + i32(subgroup_lane);" in made.text


def test_a_kernel_that_does_not_stays_as_it_is() -> None:
    text = kernel_text(SIGNATURE, "  let a : i32 = 1i;\n")
    made = shaders(text)["made"]
    assert not made.by_subgroup
    assert made.text == text


def test_an_entry_of_another_form_gets_no_subgroups() -> None:
    with pytest.raises(ValueError, match="an entry is not as TVM"):
        shaders(kernel_text("(@builtin(workgroup_id) b : vec3<u32>) {", " _ = subgroup_lane(); "))
