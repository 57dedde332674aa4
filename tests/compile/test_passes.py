"""The rewrites on a whole tiny llama: no marker is left, equal calls share a kernel, the metadata
says what the shards hold. No GPU."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tvm
from tvm import ir, relax
from tvm.relax.frontend import nn

from tests.compile.tiny_request import SCHEDULES, request_of
from transom_compile import lower
from transom_compile.graph import Graph, _Functions, stored_parameters
from transom_compile.passes.attach_kv_cache import AttachKVCache
from transom_compile.passes.attach_metadata import AttachMetadata, planned_bytes
from transom_compile.passes.attach_samplers import AttachSamplers
from transom_compile.passes.fuse_norms import FuseNorms
from transom_compile.passes.hand_on_norms import HandOnNorms
from transom_compile.passes.markers import FEW_ROWS
from transom_compile.passes.select_kernels import SelectKernels
from transom_compile.shards import plan_shards
from transom_models.architecture import ParameterSpec, load_architecture
from transom_models.block_type import BLOCK_TYPES


def calls(module: Any) -> Iterator[Any]:
    """Every call in every Relax function."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call):
            found.append(node)

    for function in module.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function.body, visit)
    return iter(found)


def marker_names(module: Any) -> list[str]:
    names = [
        str(call.args[0].global_symbol)
        for call in calls(module)
        if call.op == ir.Op.get("relax.call_dps_packed")
    ]
    return [name.removeprefix("transom.") for name in names if name.startswith("transom.")]


def kernels_called(module: Any) -> list[str]:
    return [
        call.args[0].name_hint for call in calls(module) if call.op == ir.Op.get("relax.call_tir")
    ]


def string_of(function: Any) -> str:
    """The one string that a function returns."""
    found: list[str] = []

    def visit(node: Any) -> None:
        if isinstance(node, ir.StringImm):
            found.append(str(node.value))

    relax.analysis.post_order_visit(function.body, visit)
    (text,) = found
    return text


def graph_of(**options: Any) -> Any:
    request = request_of(**options)
    return lower._graph(request, load_architecture(request.architecture))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", list(BLOCK_TYPES))
def test_every_marker_becomes_a_kernel(schedule: str, dtype: str, kind: str) -> None:
    graph = graph_of(schedule=schedule, compute_dtype=dtype, matrices=kind)
    graph = FuseNorms(schedule)(graph)
    count = len(marker_names(graph))
    module = SelectKernels(schedule)(graph)
    assert "transom." not in module.script()
    assert len(kernels_called(module)) == count


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_equal_calls_share_one_kernel(schedule: str) -> None:
    """More layers, no more kernels."""
    few, many = (
        SelectKernels(schedule)(graph_of(schedule=schedule, block_count=count)) for count in (1, 5)
    )
    assert len(kernels_called(many)) > len(kernels_called(few))
    assert set(kernels_called(many)) == set(kernels_called(few))
    assert len(many.get_global_vars()) == len(few.get_global_vars())


def test_calls_that_differ_have_kernels_of_their_own() -> None:
    """Two block types in one model, and logits in f32 beside f16 activations."""
    graph = graph_of(compute_dtype="float16", matrices="Q4_1", embedding="Q8_0")
    names = set(kernels_called(SelectKernels("gpu")(graph)))
    linear = {name for name in names if name.startswith("linear")}
    assert {name for name in linear if "q8_0" in name and name.endswith("_float32")}
    assert all("q4_1" in name for name in linear if not name.endswith("_float32"))


def test_norms_with_other_epsilons_share_no_kernel() -> None:
    """The kernel's name says width only: attributes must tell them apart too."""
    small, large = graph_of(), graph_of(rms_norm_epsilon=0.5)
    module = tvm.IRModule({"small": small["decode"], "large": large["decode"]})
    for passes, count in [([], 1), ([FuseNorms("gpu")], 3)]:
        chosen = tvm.transform.Sequential([*passes, SelectKernels("gpu")])(module)
        names = {name for name in kernels_called(chosen) if "norm" in name}
        assert len(names) == 2 * count


def test_a_norm_of_one_token_goes_into_its_products() -> None:
    graph = graph_of()
    fused = FuseNorms("gpu")(graph)
    before, after = (marker_names(tvm.IRModule({"f": m["decode"]})) for m in (graph, fused))
    # Two in each of two layers, and the last one.
    assert before.count("rms_norm") == 5
    assert after.count("rms_norm") == 0
    assert after.count("normed_linear") == 5
    assert after.count("linear") == before.count("linear") - 5
    assert len(after) == len(before) - 5
    assert marker_names(FuseNorms("fallback")(graph)) == marker_names(graph)
    prefill = marker_names(tvm.IRModule({"f": fused["prefill"]}))
    assert prefill.count("rms_norm") == 4, "many tokens keep their norms"
    assert prefill.count("normed_linear") == 1, "logits are of one token"


def test_products_of_other_block_types_each_take_the_norm() -> None:
    kinds = {f"blk.{layer}.attn_v.weight": "F16" for layer in range(2)}
    names = kernels_called(SelectKernels("gpu")(FuseNorms("gpu")(graph_of(kinds=kinds))))
    assert [n for n in names if "normed" in n and "f16" in n and "decode" in n]
    assert "rms_norm_decode_64" not in names


def normed_graph(reader: Callable[[Graph, Any, Any], Any]) -> Any:
    """One token, its norm, and what `reader` makes of (graph, x, norm)."""
    specs = [
        ParameterSpec("norm", (), "F32", (256,)),
        ParameterSpec("w", (), "Q5_K", (256, 256)),
        ParameterSpec("v", (), "F32", (256, 256)),
        ParameterSpec("bias", (), "F32", (256,)),
    ]
    functions = _Functions(specs, "float32")
    x = relax.Var("x", relax.TensorType((1, 1, 256), "float32"))

    def body(graph: Graph) -> Any:
        tensor = nn.Tensor(_expr=x)
        return reader(graph, tensor, graph.rms_norm("norm", tensor, 1e-5))._expr

    functions.add("decode", [x], body)
    return functions.builder.finalize()


@pytest.mark.parametrize(
    ("reader", "names"),
    [
        (lambda graph, x, h: graph.linear("v", h), ["normed_linear"]),
        (
            lambda graph, x, h: graph.linear("v", h, residual=x, bias="bias"),
            ["normed_linear"],
        ),
        # Who else reads the norm needs it written out.
        (lambda graph, x, h: graph.multiply(graph.linear("v", h), h), None),
        (lambda graph, x, h: graph.linear("v", h, residual=h), None),
        (lambda graph, x, h: h, None),
        # x, four planes, bias, residual, output: the ninth buffer is one too many.
        (lambda graph, x, h: graph.linear("w", h, residual=x), ["normed_linear"]),
        (lambda graph, x, h: graph.linear("w", h, residual=x, bias="bias"), None),
        # One of two that cannot take it: it stays for both.
        (
            lambda graph, x, h: graph.concat(
                [graph.linear("v", h), graph.linear("w", h, residual=x, bias="bias")]
            ),
            None,
        ),
    ],
)
def test_a_norm_goes_only_where_it_can(
    reader: Callable[[Graph, Any, Any], Any], names: list[str] | None
) -> None:
    graph = normed_graph(reader)
    expected = marker_names(graph) if names is None else names
    assert marker_names(FuseNorms("gpu")(graph)) == expected


def test_on_software_adapters_a_product_hands_on_the_norm_of_what_it_makes() -> None:
    graph = graph_of(schedule="fallback")
    changed = HandOnNorms("fallback")(graph)
    before, after = (marker_names(tvm.IRModule({"f": m["decode"]})) for m in (graph, changed))
    assert before.count("rms_norm") == 5
    # The first layer's follows the embedding, which is no product.
    assert after.count("rms_norm") == 1
    assert after.count("handing_linear") == after.count("handed_linear") == 4
    assert len(after) == len(before) - 4
    assert marker_names(HandOnNorms("gpu")(graph)) == marker_names(graph)
    prefill = marker_names(tvm.IRModule({"f": changed["prefill"]}))
    assert prefill.count("rms_norm") == 5, "many tokens keep their norms"


@pytest.mark.parametrize(
    ("reader", "handed"),
    [
        (lambda graph, h: graph.linear("v", h), True),
        (lambda graph, h: graph.concat([graph.linear("v", h), graph.linear("w", h)]), True),
        # Who else reads the norm needs it written out.
        (lambda graph, h: graph.multiply(graph.linear("v", h), h), False),
        (lambda graph, h: graph.linear("v", h, residual=h), False),
        (lambda graph, h: h, False),
    ],
)
def test_a_norm_is_handed_on_only_to_products(
    reader: Callable[[Graph, Any], Any], handed: bool
) -> None:
    graph = normed_graph(
        lambda graph, x, _: reader(graph, graph.rms_norm("norm", graph.linear("v", x), 1e-5))
    )
    names = marker_names(HandOnNorms("fallback")(graph))
    assert ("handing_linear" in names) == handed
    # That of x itself, which nobody reads, is not looked at.
    assert ("handed_linear" in names) == handed


@pytest.mark.parametrize("residual", [False, True])
def test_a_norm_is_handed_on_where_bindings_are_left(residual: bool) -> None:
    """x, four planes, y, what is handed on and its weights are eight; a residual is a ninth."""

    def reader(graph: Graph, x: Any, _: Any) -> Any:
        made = graph.linear("w", x, residual=x if residual else None)
        return graph.linear("v", graph.rms_norm("norm", made, 1e-5))

    names = marker_names(HandOnNorms("fallback")(normed_graph(reader)))
    assert ("handing_linear" in names) != residual


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_few_rows_have_kernels_of_their_own(schedule: str) -> None:
    module = tvm.IRModule({"prefill": graph_of()["prefill"]})
    module["batch"] = module["prefill"].with_attr(FEW_ROWS, 1)
    chosen = SelectKernels(schedule)(module)
    many, few = (products_of(chosen, name) for name in ("prefill", "batch"))
    assert few == {name.replace("prefill", "batch") for name in many}
    assert few.isdisjoint(many)


def products_of(module: Any, function: str) -> set[str]:
    """Kernels of products that a function calls, but for those of one token."""
    names = kernels_called(tvm.IRModule({function: module[function]}))
    return {name for name in names if name.startswith("linear") and "decode" not in name}


@pytest.mark.parametrize("kind", list(BLOCK_TYPES))
@pytest.mark.parametrize("function", ["embed", "prefill", "decode"])
def test_parameters_are_those_of_the_shards(kind: str, function: str) -> None:
    request = request_of(matrices=kind)
    packed = graph_of(matrices=kind)[function].params[-1].ty
    found = [
        (tuple(int(extent) for extent in field.shape.values), str(field.dtype))
        for field in packed.fields
    ]
    planned = [tensor for plan in plan_shards(request.parameters) for tensor in plan.tensors]
    assert found == [(tensor.shape, tensor.dtype) for tensor in planned]
    assert [stored.name for stored in stored_parameters(request.parameters)] == [
        tensor.name for tensor in planned
    ]
    planes = [
        (spec.name + plane.suffix, plane.shape)
        for spec in request.parameters
        for plane in BLOCK_TYPES[spec.block_type].planes(spec.shape)
    ]
    assert planes == [(tensor.name, tensor.shape) for tensor in planned]


def test_metadata_is_the_json_that_webllm_reads() -> None:
    request = request_of()
    cache = load_architecture("llama").cache_spec(request.config, 256)
    module = AttachMetadata(lower._metadata(request, cache))(graph_of())
    metadata = json.loads(string_of(module["_metadata"]))
    assert metadata["kv_state_kind"] == "kv_cache"
    assert metadata["prefill_chunk_size"] == request.prefill_chunk
    assert metadata["context_window_size"] == request.context_window
    assert metadata["sliding_window_size"] == -1
    assert metadata["attention_sink_size"] == -1
    assert metadata["max_batch_size"] == 1
    assert metadata["model_task"] == "chat"
    assert metadata["memory_usage"].keys() >= {"embed", "prefill", "decode"}
    assert metadata["transom"]["compute_dtype"] == "float32"
    assert metadata["transom"]["schedule"] == "gpu"
    assert metadata["kv_cache"] == {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
    }
    planned = [tensor for plan in plan_shards(request.parameters) for tensor in plan.tensors]
    assert [(row["name"], tuple(row["shape"]), row["dtype"]) for row in metadata["params"]] == [
        (tensor.name, tensor.shape, tensor.dtype) for tensor in planned
    ]


def test_planned_bytes_counts_each_storage_once() -> None:
    """What a prefill of 16 tokens needs is more than what a decode of one needs."""
    request = request_of()
    goal = lower.Target({"kind": "webgpu", "host": lower.WASM_HOST})
    cache = load_architecture("llama").cache_spec(request.config, 256)
    module = lower._graph(request, load_architecture("llama"))
    for name, passes in lower._phases(request, cache, goal).items():
        if name == "lower":
            # Up to the memory plan.
            passes = passes[: [one.info.name for one in passes].index("AttachMetadata")]
        with goal, tvm.transform.PassContext(opt_level=3):
            module = tvm.transform.Sequential(passes)(module)
    usage = {name: planned_bytes(module[name]) for name in ("embed", "prefill", "decode")}
    assert usage["prefill"] > usage["decode"] > 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_the_engine_looks_up_is_there(schedule: str) -> None:
    cache = load_architecture("llama").cache_spec(request_of().config, 256)
    goal = lower.Target({"kind": "webgpu", "host": lower.WASM_HOST})
    module = AttachKVCache(cache, "float32", schedule, goal)(tvm.IRModule())
    module = AttachSamplers(64)(module)
    names = {var.name_hint for var in module.get_global_vars()}
    assert names >= {
        "create_tir_paged_kv_cache",
        "argmax_logits",
        "softmax_with_temperature",
        "argsort_probs",
        "sample_with_top_p",
        "apply_penalty_inplace",
        "apply_logit_bias_inplace",
        "apply_bitmask_inplace",
    }
