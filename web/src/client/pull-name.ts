/**
 * What somebody pasted to have a model fetched: a name as registries have them, the address of a file
 * or of a bundle. Pure; the server judges again.
 */
import { wholeName } from "./model-name.ts";

/** Host and three parts with their separators, as the store takes them (`transom_models/name.py`). */
const MAX_NAME_LENGTH = 570;
/** An address of a file may be longer; more than this no server of ours reads. */
const MAX_URL_LENGTH = 2000;
/** People paste what a page tells them to type. */
const COMMAND = /^(?:\$\s*)?(?:ollama|transom|docker)\s+(?:pull|run)\s+/;
const DIGEST = /@sha256:[0-9a-f]{64}$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
/** Sites for people whose registries go by another name. */
const REGISTRIES: Readonly<Record<string, string>> = { "ollama.com": "registry.ollama.ai" };

export type Pasted =
  /** `registry`: the host that is asked; null: the one that the server knows. */
  | { kind: "name"; model: string; registry: string | null }
  /** A GGUF file at an address. */
  | { kind: "file"; url: string }
  /** A folder of this page's own host, which this browser reads by itself. */
  | { kind: "bundle"; url: string }
  | { kind: "wrong"; reason: WrongPaste };

export type WrongPaste =
  "empty" | "too-long" | "no-name" | "no-model-file" | "credentials" | "plain-http";

/** @param page the page's own address: its host's folders are bundles. */
export function readPasted(text: string, page: string): Pasted {
  const plain = text.trim().replace(COMMAND, "").trim();
  if (plain === "") {
    return { kind: "wrong", reason: "empty" };
  }
  if (plain.length > MAX_URL_LENGTH) {
    return { kind: "wrong", reason: "too-long" };
  }
  if (plain.startsWith("hf://")) {
    return plain.endsWith(".gguf")
      ? { kind: "file", url: plain }
      : { kind: "wrong", reason: "no-model-file" };
  }
  return plain.includes("://") ? readUrl(plain, new URL(page)) : readName(plain);
}

function readUrl(text: string, page: URL): Pasted {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    return { kind: "wrong", reason: "no-name" };
  }
  if (url.username !== "" || url.password !== "") {
    return { kind: "wrong", reason: "credentials" };
  }
  if (url.origin === page.origin && /(?:\/|\/index\.json)$/.test(url.pathname)) {
    return { kind: "bundle", url: new URL(".", url).href };
  }
  if (url.protocol === "http:" && !LOOPBACK.test(url.hostname)) {
    return { kind: "wrong", reason: "plain-http" };
  }
  if (/\.gguf$/i.test(url.pathname)) {
    return { kind: "file", url: url.href };
  }
  // The address of a model's page, as a name.
  const host = REGISTRIES[url.hostname] ?? url.host;
  const path = url.pathname.replace(/^\/|\/$/g, "");
  return path.split("/").length === 2
    ? readName(`${host}/${path}`)
    : { kind: "wrong", reason: "no-model-file" };
}

function readName(text: string): Pasted {
  const name = text.replace(DIGEST, "");
  if (text.length > MAX_NAME_LENGTH) {
    return { kind: "wrong", reason: "too-long" };
  }
  if (wholeName(name) === null) {
    return { kind: "wrong", reason: "no-name" };
  }
  const parts = name.split("/");
  return { kind: "name", model: text, registry: parts.length === 3 ? (parts[0] ?? null) : null };
}

/** A name that a file suggests: "Tiny Llama (Q4).gguf" -> "tiny-llama-q4"; "" where it suggests none. */
export function nameOfFile(fileName: string): string {
  return fileName
    .replace(/\.[^.]+$/, "")
    .toLowerCase()
    .replace(/[^a-z0-9._]+/g, "-")
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "")
    .slice(0, 80);
}
