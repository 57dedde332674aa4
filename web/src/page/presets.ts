/** What a preset does: to the chat that shows, and as a model of the server. */
import { SERVED_BY_HEADER } from "../api-protocol.ts";
import type { PresetSettings } from "../chat/modelfile-settings.ts";
import type { Id } from "../chat/types.ts";
import { refusalOf } from "../client/api-errors.ts";
import { isSameName, wholeName } from "../client/model-name.ts";
import { readWork } from "../client/progress-lines.ts";
import type { Desk } from "./desk.ts";
import type { Parts } from "./parts.ts";

/** The chat takes over what a preset says; its messages only where nothing was said yet. */
export function usePreset({ chat, desk }: Parts, id: Id, settings: PresetSettings): void {
  const { model, system, parameters, messages } = settings;
  chat.change({ preset: id, system, parameters });
  chat.seed(messages);
  const opened = desk.opened.value?.name;
  if (opened === undefined || !isSameName(wholeName(model) ?? model, opened)) {
    void desk.choose(`?model=${encodeURIComponent(model)}`);
  }
}

/** Have the server make a model. @param request the body of `/api/create`. */
export async function createModel(
  fetch: Desk["fetch"],
  request: object,
  onStatus: (status: string) => void,
): Promise<void> {
  const response = await fetch(new URL("api/create", document.baseURI), {
    method: "POST",
    // A browser makes no models: its service worker lets this pass.
    headers: { "Content-Type": "application/json", [SERVED_BY_HEADER]: "server" },
    body: JSON.stringify(request),
  });
  if (!response.ok) {
    throw (await refusalOf(response)).error;
  }
  const whole = new AbortController().signal;
  await readWork(
    response,
    ({ text }) => {
      onStatus(text);
    },
    whole,
  );
}
