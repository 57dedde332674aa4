import { chat } from "./chat.ts";
import { composer } from "./composer.ts";
import { documents } from "./documents.ts";
import { markdown } from "./markdown.ts";
import { models } from "./models.ts";
import { place } from "./place.ts";
import { presets } from "./presets.ts";
import { reasons } from "./reasons.ts";
import { settings } from "./settings.ts";
import { shell } from "./shell.ts";
import { sidebar } from "./sidebar.ts";
import { speech } from "./speech.ts";
import { storage } from "./storage.ts";
import { tools } from "./tools.ts";
import { units } from "./units.ts";

/** What the page says, in English; other languages say the same. */
export const en = {
  chat,
  composer,
  documents,
  markdown,
  models,
  place,
  presets,
  reasons,
  settings,
  shell,
  sidebar,
  speech,
  storage,
  tools,
  units,
};
