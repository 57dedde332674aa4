import type { Words } from "../words.ts";

export const composer: Words["composer"] = {
  message: "Nachricht",
  placeholder: "Etwas fragen …",
  send: "Senden",
  stop: "Anhalten",
  keys: "Eingabe sendet, Umschalt und Eingabe beginnt eine neue Zeile, Escape hält an.",
  keysWithCtrl: "Strg und Eingabe sendet, Eingabe beginnt eine neue Zeile, Escape hält an.",
  tools: "Werkzeuge",
  toolsOn: (count) => `Werkzeuge, ${count} eingeschaltet`,
  options: "Prompt und Parameter",
  presets: "Vorlagen",
};
