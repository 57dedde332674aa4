/** What the models' room keeps among the page's small choices. */

const UPLOADS_SETTING = "models.uploads";
/** The server forgets them after a day. */
const MAX_UPLOADS = 20;

/** Small choices that outlive the page. */
export interface Settings {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown): Promise<unknown>;
}

/** Where uploads that broke off go on. */
export function uploadsIn(settings: Settings) {
  const all = async () => ((await settings.get(UPLOADS_SETTING)) ?? {}) as Record<string, unknown>;
  return {
    get: async (digest: string) => {
      const { [digest]: address } = await all();
      return typeof address === "string" ? address : null;
    },
    set: async (digest: string, address: string | null) => {
      const others = Object.entries(await all()).filter(([each]) => each !== digest);
      const now = address === null ? others : [...others, [digest, address]];
      await settings.set(UPLOADS_SETTING, Object.fromEntries(now.slice(-MAX_UPLOADS)));
    },
  };
}
