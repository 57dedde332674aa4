"""Every architecture's computation reaches kernels, in every schedule: no GPU, no weights."""

from typing import Any

import pytest
import transformers

from tests.compile.test_passes import kernels_called, marker_names
from tests.compile.tiny_request import SCHEDULES
from tests.fakes.tiny_gguf import TOKENS
from tests.fakes.tiny_hub import MODELS, SIZES
from transom_compile.graph import build_module
from transom_compile.passes.fuse_norms import FuseNorms
from transom_compile.passes.hand_on_norms import HandOnNorms
from transom_compile.passes.select_kernels import MARKERS, PRODUCTS, SelectKernels
from transom_compile.program_graph import ProgramSizes, build_program_module
from transom_models.architecture import known_architectures, load_architecture

HUBS = {**MODELS, "bert": ("Bert", {"max_position_embeddings": 64})}


def graphs_of(name: str, *, fused: bool, dtype: str, schedule: str) -> list[Any]:
    """The modules of markers for the tiny model of that name: its library's, and its program's if
    it writes."""
    kind, fields = HUBS[name]
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **fields}).to_dict()
    architecture = load_architecture(name.split("-")[0])
    hub = architecture.from_hugging_face(
        {**config, "architectures": [architecture.HUGGING_FACE[0]]}
    )
    metadata = {**hub.metadata, "tokenizer.ggml.tokens": TOKENS}
    read = architecture.read_config(metadata, hub.vectors)
    sources = [source for spec in architecture.parameters(read, {}) for source in spec.sources]
    kinds = {source.name: "Q8_0" if len(source.shape) > 1 else "F32" for source in sources}
    if not fused:
        # A block type of their own keeps values and up rows apart.
        kinds |= {key: "F16" for key in kinds if key.endswith(("attn_v.weight", "ffn_up.weight"))}
    specs = architecture.parameters(read, kinds)
    library = build_module(architecture, read, specs, dtype)
    if architecture.TASK != "chat":
        return [library]
    return [
        library,
        build_program_module(architecture, read, specs, dtype, schedule, ProgramSizes(64, 16)),
    ]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", HUBS)
def test_every_marker_of_an_architecture_becomes_a_kernel(name: str, fused: bool) -> None:
    for schedule, dtype in zip(SCHEDULES, ("float16", "float32"), strict=True):
        for graph in graphs_of(name, fused=fused, dtype=dtype, schedule=schedule):
            markers = HandOnNorms(schedule)(FuseNorms(schedule)(graph))
            module = SelectKernels(schedule)(markers)
            assert "transom." not in module.script()
            others = len(kernels_called(markers))
            assert len(kernels_called(module)) == len(marker_names(markers)) + others


def test_architectures_use_every_marker_and_no_other() -> None:
    used = {
        marker
        for name in known_architectures()
        for fused in (True, False)
        for graph in graphs_of(name, fused=fused, dtype="float32", schedule="gpu")
        for module in (graph, FuseNorms("gpu")(graph), HandOnNorms("fallback")(graph))
        for marker in marker_names(module)
    }
    assert used == MARKERS.keys() | PRODUCTS.keys()
