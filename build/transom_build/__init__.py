"""Things built once by pinned tools: the wasm runtime."""
