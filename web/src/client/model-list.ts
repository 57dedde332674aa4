/** The models that this page's server offers; none on a static host, which is no error. */
export async function listModels(baseUrl: string): Promise<string[]> {
  try {
    const response = await fetch(new URL("v1/models", baseUrl));
    const list = (await response.json()) as { data?: { id?: unknown }[] };
    return (list.data ?? []).map(({ id }) => id).filter((id) => typeof id === "string");
  } catch {
    return [];
  }
}
