/** Embedding models that can be asked now: here, or at the server, as the API lists them. */

/** A host that needs longer has none for somebody who waits for an answer. */
const LIST_MILLISECONDS = 5000;

/** @returns names as the API calls them; none where nobody tells. */
export async function listEmbedders(
  baseUrl: string,
  fetch: (url: URL, init: RequestInit) => Promise<Response>,
): Promise<string[]> {
  try {
    const signal = AbortSignal.timeout(LIST_MILLISECONDS);
    const response = await fetch(new URL("api/tags", baseUrl), { signal });
    const { models = [] } = (await response.json()) as {
      models?: { name?: unknown; capabilities?: unknown }[];
    };
    return models.flatMap(({ name, capabilities }) =>
      typeof name === "string" && Array.isArray(capabilities) && capabilities.includes("embedding")
        ? [name]
        : [],
    );
  } catch {
    return [];
  }
}
