/** The Python tool without a chat around it, for tests/app/test_python_sandbox.py. */
import { folder } from "virtual:pyodide-bundle";

import { PythonTool } from "../../../web/src/tools/python/python-tool.ts";
import { sandboxOpener } from "../../../web/src/tools/python/sandbox.ts";
import type { ToolOutput } from "../../../web/src/tools/types.ts";

/** What a program came to; `failed` in place of a text where the tool threw. */
type Outcome = ToolOutput | { failed: string };

interface PythonPage {
  tool: PythonTool;
  /** Views that came while programs ran. */
  seen: number;
  run(code: string, stopAfterMilliseconds?: number): Promise<Outcome>;
}

const page: PythonPage = {
  tool: new PythonTool(
    sandboxOpener(() => new URL(folder, document.baseURI).href),
    {
      runSeconds: Number(new URLSearchParams(location.search).get("seconds") ?? 30),
    },
  ),
  seen: 0,
  async run(code, stopAfterMilliseconds) {
    const stop = new AbortController();
    if (stopAfterMilliseconds !== undefined) {
      setTimeout(() => {
        stop.abort();
      }, stopAfterMilliseconds);
    }
    try {
      return await page.tool.run(
        { code },
        {
          signal: stop.signal,
          onView: () => {
            page.seen += 1;
          },
        },
      );
    } catch (error) {
      return { failed: String(error) };
    }
  },
};

(window as unknown as { python: PythonPage }).python = page;
