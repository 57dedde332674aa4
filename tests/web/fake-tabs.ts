/** The tabs of an origin: one alone, or several that see what the others use. */
import type { Tabs } from "../../web/src/store/shelf.ts";

/** @param others ids that other tabs use. */
export function tabs(others: Iterable<string> = []): Tabs {
  const using = new Set(others);
  return {
    alone: (work) => work(),
    using: async (id, work) => {
      using.add(id);
      try {
        return await work();
      } finally {
        using.delete(id);
      }
    },
    inUse: () => Promise.resolve(new Set(using)),
  };
}

export const ONE_TAB: Tabs = tabs();
