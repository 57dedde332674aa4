/**
 * What of a bundle runs on the processor: the GGUF of its native platform, and beside it the texts
 * of a browser platform of the same model (tokenizer, template, …), where there is one.
 */
import { TransomError } from "../../errors.ts";
import type { Fit } from "../../protocol.ts";
import type { BundleReader } from "../../store/bundle-reader.ts";
import {
  type Descriptor,
  type FileDescriptor,
  type Index,
  MEDIA_TYPES,
  type Manifest,
  layersOf,
} from "../../store/manifest.ts";
import { licencesOf } from "../licence.ts";

/** wllama's C library counts a file's bytes in 31 bits. */
export const MOST_GGUF_BYTES = 2 ** 31 - 1;
/** What a wasm with addresses of 32 bits can hold: the file, the KV cache and scratch. */
const ADDRESSABLE_BYTES = 2 ** 32;

/** Which of a browser platform's texts a conversation needs. */
const TEXTS: ReadonlySet<string> = new Set([
  MEDIA_TYPES.tokenizer,
  MEDIA_TYPES.template,
  MEDIA_TYPES.system,
  MEDIA_TYPES.params,
  MEDIA_TYPES.messages,
]);

export interface GgufBundle {
  native: Manifest;
  gguf: FileDescriptor;
  /** Null: all that there is is in the GGUF itself. */
  browser: Manifest | null;
  /** All that this load reads. */
  files: readonly FileDescriptor[];
  /** What WebGPU would need: an adapter that is gone today may be back tomorrow. */
  others: readonly FileDescriptor[];
}

/** @throws TransomError `no-variant` where the model has no GGUF, or not one alone. */
export async function findGguf(bundle: BundleReader): Promise<GgufBundle> {
  const index = await bundle.readIndex();
  const nativeRow = rowOf(index, "native", "gguf");
  if (nativeRow === undefined) {
    throw noGguf(bundle.name);
  }
  const native = await bundle.readManifest(nativeRow);
  const [gguf, another] = layersOf(native, MEDIA_TYPES.gguf);
  if (gguf === undefined) {
    throw noGguf(bundle.name);
  }
  if (another !== undefined || layersOf(native, MEDIA_TYPES.adapter).length > 0) {
    const what = another === undefined ? "a LoRA adapter beside its GGUF" : "several GGUFs";
    throw new TransomError(
      "no-variant",
      `${bundle.name} has ${what}: the processor engine of a page runs one GGUF on its own.`,
    );
  }
  const browserRow =
    rowOf(index, "browser", "webgpu", "f32") ?? rowOf(index, "browser", "webgpu", "f16");
  const browser = browserRow === undefined ? null : await bundle.readManifest(browserRow);
  const all = browser === null ? native.layers : [browser.config, ...browser.layers];
  const isText = (file: FileDescriptor) => file === browser?.config || TEXTS.has(file.mediaType);
  const isLicence = ({ mediaType }: FileDescriptor) => mediaType === MEDIA_TYPES.license;
  return {
    native,
    gguf,
    browser,
    files: [...all.filter(isText), ...licencesOf(browser ?? native), gguf],
    others: browser === null ? [] : all.filter((file) => !isText(file) && !isLicence(file)),
  };
}

/** For a GGUF that a manifest names, but that is not where the bundle is. */
export function noGguf(name: string, cause?: unknown): TransomError {
  return new TransomError(
    "no-variant",
    `There is no GGUF of ${name} here that could run on the processor; ` +
      'a page of "transom serve" has it.',
    { cause },
  );
}

/** Whether the file fits, as far as its size tells; memory of a GPU it takes none. */
export async function fitOf(bundle: BundleReader, found: GgufBundle): Promise<Fit> {
  const { size } = found.gguf;
  const measured = await bundle.measure(found.files);
  const isTooLarge = size > MOST_GGUF_BYTES;
  return {
    variant: "gguf",
    downloadBytes: measured.missingBytes,
    storedBytes: measured.storedBytes,
    storageFreeBytes: measured.freeBytes,
    gpuBytes: 0,
    budgetBytes: ADDRESSABLE_BYTES,
    budgetReason: "a page's processor engine can address so much memory",
    problems: isTooLarge
      ? [
          {
            code: "out-of-memory",
            message:
              `${bundle.name} has ${gigabytes(size)} GB; on the processor a page runs models of ` +
              `up to ${gigabytes(MOST_GGUF_BYTES)} GB. Choose a smaller one, or a browser with WebGPU.`,
            facts: { fileBytes: size, mostBytes: MOST_GGUF_BYTES },
            refusal: "always",
          },
        ]
      : [],
  };
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}

function rowOf(
  { manifests }: Index,
  os: string,
  architecture: string,
  variant?: string,
): Descriptor | undefined {
  return manifests.find(
    ({ platform }) =>
      platform?.os === os &&
      platform.architecture === architecture &&
      (variant === undefined || platform.variant === variant),
  );
}
