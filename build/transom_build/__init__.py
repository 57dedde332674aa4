"""Things built once by pinned tools: the wasm runtime, and Python for the page."""
