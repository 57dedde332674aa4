"""One file per architecture; the file name is GGUF's general.architecture."""
