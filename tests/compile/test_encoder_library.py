"""A tiny encoder's libraries: functions, metadata, and what their shaders ask of a device. No GPU:
the WGSL is read as text."""

from typing import Any

import pytest
import tvm
from tvm.target import Target

from tests.compile import wgsl
from transom_compile import lower
from transom_compile.library_request import LibraryRequest
from transom_models.architecture import load_architecture

WORKGROUP_BYTES = 16 * 1024
"""WebGPU's default maxComputeWorkgroupStorageSize."""
STORAGE_BUFFERS = 8
"""WebGPU's default maxStorageBuffersPerShaderStage."""
CONTEXT = 128
METADATA = {
    "bert.block_count": 2,
    "bert.context_length": CONTEXT,
    "bert.embedding_length": 128,
    "bert.feed_forward_length": 96,
    "bert.attention.head_count": 1,
    "bert.attention.layer_norm_epsilon": 1e-12,
    "bert.pooling_type": 1,
    "tokenizer.ggml.token_type_count": 2,
    "tokenizer.ggml.tokens": ["x"] * 40,
}
LIBRARIES = [("float32", "gpu"), ("float32", "fallback"), ("float16", "gpu")]


def request_of(dtype: str, schedule: str) -> LibraryRequest:
    architecture = load_architecture("bert")
    config = architecture.read_config(METADATA, {})
    sources = [one for spec in architecture.parameters(config, {}) for one in spec.sources]
    kinds = {one.name: "Q8_0" if len(one.shape) > 1 else "F32" for one in sources}
    kinds["token_types.weight"] = "F32"
    rows = architecture.parameters(config, kinds)
    return LibraryRequest("bert", config, rows, dtype, schedule, CONTEXT, CONTEXT)


@pytest.fixture(scope="module", params=LIBRARIES, ids="-".join)
def library(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    """(schedule, module after the last phase, executable): all of `build_library` but the link."""
    dtype, schedule = request.param
    wanted = request_of(dtype, schedule)
    target = Target({"kind": "webgpu", "host": lower.WASM_HOST})
    module = lower._graph(wanted, load_architecture("bert"))
    for passes in lower._phases(wanted, None, target).values():
        with target, tvm.transform.PassContext(opt_level=3):
            module = tvm.transform.Sequential(passes)(module)
    with target:
        return schedule, module, lower._generate(module, target)


def test_it_encodes_and_has_nothing_to_speak_with(library: tuple[str, Any, Any]) -> None:
    _, module, _ = library
    names = {str(name.name_hint) for name in module.get_global_vars()}
    assert {"encode", "prefill", "_metadata"} <= names
    assert not {"embed", "decode", "argmax_logits", "create_tir_paged_kv_cache"} & names


def test_the_metadata_is_an_embedding_models() -> None:
    wanted = request_of("float32", "gpu")
    metadata = lower._metadata(wanted, None)
    assert (metadata["model_task"], metadata["kv_state_kind"]) == ("embedding", "none")
    assert "kv_cache" not in metadata
    # WebLLM refuses an embedding model that would have to be run in chunks.
    assert metadata["prefill_chunk_size"] == metadata["context_window_size"] == CONTEXT
    assert metadata["max_batch_size"] == 1


def test_shaders_ask_for_no_more_than_webgpu_promises(library: tuple[str, Any, Any]) -> None:
    schedule, _, executable = library
    shaders = wgsl.shaders(lower._shaders(executable))
    assert len(shaders) > 8
    for shader in shaders.values():
        assert shader.workgroup_bytes <= WORKGROUP_BYTES, shader.name
        assert shader.storage_buffers <= STORAGE_BUFFERS, shader.name
    with_barrier = {shader.name for shader in shaders.values() if shader.has_barrier}
    if schedule == "fallback":
        assert not with_barrier
    else:
        assert {"layer_norm_128", "self_attention_1x128"} <= with_barrier
