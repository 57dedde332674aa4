/**
 * Where requests can go, and where the visitor wants them: `Place` of `api-protocol.ts`.
 *
 *   ?where=browser    in the page's address: this browser and never the server; also server, auto
 *   ?engine=cpu       what runs a model here is said (`page/address.ts`): this browser, too, as with
 *                     `bundle` and `imported`, which no server knows
 *   localStorage      what the visitor chose last, where the address says nothing
 */
import type { Place } from "../api-protocol.ts";
import { TransomError } from "../errors.ts";
import { findAdapter } from "../support.ts";

export type Wanted = Place["wanted"];

const KEY = "transom-where";
/** What in an address is of this browser alone. */
const OURS = ["engine", "bundle", "imported"];
const WANTED: readonly Wanted[] = ["auto", "browser", "server"];
/** A server that needs longer to say that it is well is none to ask; a busy machine needs seconds. */
const PROBE_MILLISECONDS = 10_000;

/** What is looked at; a page's own by default. */
export interface Surroundings {
  address: URL;
  /** Folder of the page, absolute. */
  scope: string;
  /** A page of `transom export`: files and no server. */
  isStatic: boolean;
  gpu: GPU | undefined;
  storage: Pick<Storage, "getItem" | "setItem">;
  fetch: typeof fetch;
}

export async function findPlace(surroundings: Surroundings): Promise<Place> {
  const wanted = readWanted(surroundings);
  const [hasWebGpu, hasServer] = await Promise.all([
    canUseGpu(surroundings),
    isServerThere(surroundings),
  ]);
  return { wanted, hasWebGpu, hasServer };
}

/** @throws TransomError `invalid-request` where the address says something else. */
export function readWanted({
  address,
  storage,
}: Pick<Surroundings, "address" | "storage">): Wanted {
  const text = address.searchParams.get("where");
  const said = WANTED.find((wanted) => wanted === text);
  if (text !== null && said === undefined) {
    throw new TransomError("invalid-request", `where is ${WANTED.join(" or ")}, not "${text}".`);
  }
  if (said !== undefined) {
    return said;
  }
  if (OURS.some((name) => address.searchParams.has(name))) {
    return "browser";
  }
  try {
    const kept = storage.getItem(KEY);
    return WANTED.find((wanted) => wanted === kept) ?? "auto";
  } catch {
    return "auto"; // a browser may keep nothing, and says so by throwing
  }
}

/** For this and later visits; pages that are open hear of it (`storage` event). */
export function keepWanted(wanted: Wanted, storage: Pick<Storage, "setItem">): void {
  try {
    storage.setItem(KEY, wanted);
  } catch {
    // It holds for this visit.
  }
}

/** Whether the `storage` event is about what `keepWanted` keeps. */
export function isWantedKey(key: string | null): boolean {
  return key === KEY || key === null;
}

/** Adapters that are programs on the processor count: they answer, and everything else is the same. */
async function canUseGpu({ address, gpu }: Surroundings): Promise<boolean> {
  if (address.searchParams.get("engine") === "cpu") {
    return false;
  }
  try {
    await findAdapter(gpu);
    return true;
  } catch {
    return false;
  }
}

/** Whether `transom serve` is behind the page: a file server answers anything, but not this. */
export async function isServerThere({
  isStatic,
  scope,
  fetch,
}: Pick<Surroundings, "isStatic" | "scope" | "fetch">): Promise<boolean> {
  if (isStatic) {
    return false;
  }
  try {
    const response = await fetch(new URL("healthz", scope), {
      cache: "no-store",
      signal: AbortSignal.timeout(PROBE_MILLISECONDS),
    });
    const body = (await response.json()) as { status?: unknown } | null;
    return response.ok && body?.status === "ok";
  } catch {
    return false;
  }
}
