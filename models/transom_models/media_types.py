"""Every media type and annotation key that a manifest of ours uses. Constants only."""

from typing import Final

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
# Docker's older names for the same two, which Ollama's registries use.
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"

# Browser platforms.
SHARD: Final = "application/vnd.transom.shard.v1"
LIBRARY: Final = "application/vnd.transom.library.v1+wasm"
PROGRAM: Final = "application/vnd.transom.program.v1+json"
TENSOR_CACHE: Final = "application/vnd.transom.tensor-cache.v1+json"
TOKENIZER: Final = "application/vnd.transom.tokenizer.v1+json"
CONFIG: Final = "application/vnd.transom.config.v1+json"

# Ollama's, for native platforms; template, system, params and license serve browser platforms too.
OLLAMA_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
OLLAMA_PROJECTOR: Final = "application/vnd.ollama.image.projector"
OLLAMA_ADAPTER: Final = "application/vnd.ollama.image.adapter"
OLLAMA_DRAFT: Final = "application/vnd.ollama.image.draft"
OLLAMA_TEMPLATE: Final = "application/vnd.ollama.image.template"
OLLAMA_SYSTEM: Final = "application/vnd.ollama.image.system"
OLLAMA_PARAMS: Final = "application/vnd.ollama.image.params"
OLLAMA_MESSAGES: Final = "application/vnd.ollama.image.messages"
OLLAMA_LICENSE: Final = "application/vnd.ollama.image.license"

# Annotation keys. A descriptor's title is its file name: for people, and for WebLLM's by-path view.
ANNOTATION_TITLE: Final = "org.opencontainers.image.title"
# What an image layout calls one of its models.
ANNOTATION_REF_NAME: Final = "org.opencontainers.image.ref.name"
# Of an image layout's index, in bytes: larger blobs lie in pieces, for a host that takes no more.
ANNOTATION_MAX_FILE: Final = "dev.transom.layout.max-file"
ANNOTATION_LICENSES: Final = "org.opencontainers.image.licenses"
# "gpu" or "fallback", on library layers.
ANNOTATION_SCHEDULE: Final = "dev.transom.schedule"
ANNOTATION_ARCHITECTURE: Final = "dev.transom.architecture"
ANNOTATION_SOURCE_DIGEST: Final = "dev.transom.source.digest"
# Block type histogram of the weights, as "Q4_1:210 Q8_0:1 F32:61".
ANNOTATION_SCHEME: Final = "dev.transom.scheme"
ANNOTATION_VERSIONS: Final = "dev.transom.versions"
