"""Phase `attach`: add greedy choice and the sampler functions that WebLLM 0.2.86 looks up."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, tirx

from transom_compile.kernels import sampling


@tvm.transform.module_pass(opt_level=0, name="AttachSamplers")
class AttachSamplers:
    """`argmax_logits` (ours); softmax, argsort, top-p, bias, penalty and bitmask (WebLLM's)."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab = vocab_size

    def transform_module(self, module: Any, _context: Any) -> Any:
        builder = relax.BlockBuilder(module)
        self._argmax(builder)
        self._softmax(builder)
        self._argsort(builder)
        self._top_p(builder)
        module = builder.finalize()
        in_place: list[Any] = [
            sampling.apply_logit_bias(self.vocab),
            sampling.apply_penalty(self.vocab),
            sampling.apply_bitmask(self.vocab),
        ]
        for prim_func in in_place:
            module[str(prim_func.attrs["global_symbol"])] = prim_func
        return module

    def _argmax(self, builder: Any) -> None:
        logits = _tensor("logits", (1, 1, self.vocab))
        with builder.function("argmax_logits", [logits]):
            chunks = (sampling.CHUNKS,)
            best = _call(
                builder,
                sampling.chunk_argmax(self.vocab),
                [logits],
                [_type(chunks), _type(chunks, "int32")],
            )
            token = _call(
                builder, sampling.final_argmax(), [best[0], best[1]], [_type((1,), "int32")]
            )
            builder.emit_func_output(token)

    def _softmax(self, builder: Any) -> None:
        shape = (1, 1, self.vocab)
        logits, temperature = _tensor("logits", shape), _tensor("temperature", (1,))
        with builder.function("softmax_with_temperature", [logits, temperature]):
            chunks = _type((sampling.CHUNKS,))
            parts = _call(
                builder, sampling.chunk_softmax(self.vocab), [logits, temperature], [chunks, chunks]
            )
            total = _call(
                builder,
                sampling.total_softmax(),
                [parts[0], parts[1], temperature],
                [_type((2,))],
            )
            probs = _call(
                builder,
                sampling.apply_softmax(self.vocab),
                [logits, temperature, total],
                [_type(shape)],
            )
            builder.emit_func_output(probs)

    def _argsort(self, builder: Any) -> None:
        shape = (1, self.vocab)
        probs = _tensor("probs", shape)
        pair = [_type(shape), _type(shape, "int32")]
        with builder.function("argsort_probs", [probs]):
            runs = _call(builder, sampling.sort_runs(self.vocab), [probs], pair)
            merge = _add(builder, sampling.merge_runs(self.vocab))
            width = sampling.RUN
            while width < self.vocab:
                call = relax.call_tir(merge, [runs[0], runs[1], tirx.const(width, "int32")], pair)
                runs = builder.emit(call)
                width *= 2
            builder.emit_func_output(runs)

    def _top_p(self, builder: Any) -> None:
        shape = (1, self.vocab)
        parameters = [
            _tensor("sorted_probs", shape),
            _tensor("sorted_indices", shape, "int32"),
            _tensor("uniform_samples", (1,)),
            _tensor("sample_indices", (1,), "int32"),
            _tensor("top_p", (1,)),
        ]
        with builder.function("sample_with_top_p", parameters):
            kernel = sampling.sample_top_p(self.vocab)
            token = _call(builder, kernel, parameters, [_type((1,), "int32")])
            builder.emit_func_output(token)


def _type(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return relax.TensorType(shape, dtype)


def _tensor(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return relax.Var(name, _type(shape, dtype))


def _add(builder: Any, prim_func: Any) -> Any:
    name = str(prim_func.attrs["global_symbol"])
    return builder.add_func(prim_func.without_attr("global_symbol"), name)


def _call(builder: Any, prim_func: Any, arguments: list[Any], out: list[Any]) -> Any:
    call = relax.call_tir(_add(builder, prim_func), arguments, out if len(out) > 1 else out[0])
    return builder.emit(call)
