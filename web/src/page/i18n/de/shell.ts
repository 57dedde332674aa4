import type { Words } from "../words.ts";

export const shell: Words["shell"] = {
  close: "Schließen",
  newChat: "Neuer Chat",
  menu: "Gespräche",
  settings: "Einstellungen",
  models: "Modelle",
  chooseModel: "Modell wählen",
  modelNow: (name) => `Modell: ${name}. Ein anderes wählen`,
  noModel: "Kein Modell",
  skip: "Zum Gespräch springen",
  updateReady: "Eine neue Version ist da.",
  updateNow: "In allen Tabs verwenden",
  importedModel: "importiertes Modell",
};
