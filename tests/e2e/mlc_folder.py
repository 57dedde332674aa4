"""One of our bundles in the shape in which MLC's users publish theirs: a stand-in for a real one.

Nobody can publish a model to a test without a network, so ours is undressed: the older name of the
tensor cache, md5 instead of sha256, tensors without gaps between them, float32 kept as bfloat16 (no
loss where the weights were trained in it), no chat template but `conv_template`, nothing of
`transom` in the config or in the library, and a library without `argmax_logits`.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

# Same lengths: a wasm's strings lie at fixed places.
RENAMED = {b'"transom"': b'"another"', b"argmax_logits": b"argmin_logits"}


def publish_as_mlc(bundle: Path, library: str, out: Path) -> Path:
    """Write `out` from a bundle's folder and one of its libraries; gives `out`."""
    out.mkdir()
    config = json.loads((bundle / "mlc-chat-config.json").read_text())
    del config["transom"]
    (out / "mlc-chat-config.json").write_text(json.dumps(config, indent=2))
    shutil.copy(bundle / "tokenizer.json", out)
    cache = json.loads((bundle / "tensor-cache.json").read_text())
    cache["records"] = [_publish_shard(bundle, shard, out) for shard in cache["records"]]
    (out / "ndarray-cache.json").write_text(json.dumps(cache))
    wasm = (bundle / library).read_bytes()
    for ours, theirs in RENAMED.items():
        assert ours in wasm
        assert len(ours) == len(theirs)
        wasm = wasm.replace(ours, theirs)
    (out / "SmolLM2-135M-Instruct-webgpu.wasm").write_bytes(wasm)
    return out


def _publish_shard(bundle: Path, shard: dict[str, Any], out: Path) -> dict[str, Any]:
    stored = (bundle / shard["dataPath"]).read_bytes()
    data, records = b"", []
    for record in shard["records"]:
        part = stored[record["byteOffset"] : record["byteOffset"] + record["nbytes"]]
        kind = "raw"
        if record["dtype"] == "float32":
            words = np.frombuffer(part, np.uint32)
            assert not (words & 0xFFFF).any(), "these weights are no bfloat16"
            part, kind = (words >> 16).astype(np.uint16).tobytes(), "f32-to-bf16"
        records.append({**record, "format": kind, "nbytes": len(part), "byteOffset": len(data)})
        data += part
    (out / shard["dataPath"]).write_bytes(data)
    return {
        "dataPath": shard["dataPath"],
        "format": "raw-shard",
        "nbytes": len(data),
        "records": records,
        "md5sum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
    }


def take_out(store: Path, name: str, out: Path) -> Path:
    """A model of a store as a folder by titles, which the engine in Node reads."""
    index = (store / "manifests" / "localhost" / "library" / name / "latest").read_bytes()
    (out / "manifests").mkdir(parents=True)
    (out / "index.json").write_bytes(index)

    def blob(row: dict[str, Any]) -> Path:
        return store / "blobs" / "sha256" / row["digest"].removeprefix("sha256:")

    for number, row in enumerate(json.loads(index)["manifests"]):
        data = blob(row).read_bytes()
        (out / "manifests" / f"{number}.json").write_bytes(data)
        manifest = json.loads(data)
        for part in (manifest["config"], *manifest["layers"]):
            title = part["annotations"]["org.opencontainers.image.title"]
            (out / title).symlink_to(blob(part))
    return out
