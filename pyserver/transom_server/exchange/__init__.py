"""Models as plain files, in and out: bundles, OCI layouts, tars, an Ollama store, a static site."""
