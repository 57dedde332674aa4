import { SERVED_BY_HEADER } from "../api-protocol.ts";
import { keyedFetch } from "./api-key.ts";

/** What an image layout calls one of its models. */
const REF_NAME = "org.opencontainers.image.ref.name";

/** The models that this page's server offers; none on a static host, which is no error. */
export async function listModels(
  baseUrl: string,
  fetch = keyedFetch({ baseUrl, host: "server" }),
): Promise<string[]> {
  try {
    const response = await fetch(new URL("v1/models", baseUrl), {
      // Past the service worker, which also knows what this browser has.
      headers: { [SERVED_BY_HEADER]: "server" },
    });
    const list = (await response.json()) as { data?: { id?: unknown }[] };
    return (list.data ?? []).map(({ id }) => id).filter((id) => typeof id === "string");
  } catch {
    return [];
  }
}

/** The models of the image layout beside a page of `transom export`; none when it has no index. */
export async function listLayout(baseUrl: string): Promise<string[]> {
  try {
    const response = await fetch(new URL("index.json", baseUrl), { cache: "no-cache" });
    const index = (await response.json()) as { manifests?: { annotations?: object }[] };
    return (index.manifests ?? [])
      .map(({ annotations }) => (annotations as Record<string, unknown> | undefined)?.[REF_NAME])
      .filter((name) => typeof name === "string")
      .map((name) => name.replace(/:latest$/, ""));
  } catch {
    return [];
  }
}
