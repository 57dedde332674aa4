# The wasm tag under which C++ exceptions fly. LLVM 22's objects only refer to it; emscripten and
# wasi-sdk define it in a library that ziglang's wheel does not carry. One parameter: the
# exception's address.
	.globl	__cpp_exception
	.tagtype	__cpp_exception i32
__cpp_exception:
