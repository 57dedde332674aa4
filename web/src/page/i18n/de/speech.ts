import type { Words } from "../words.ts";

export const speech: Words["speech"] = {
  dictate: "Frage sprechen",
  stopDictating: "Nicht mehr zuhören",
  listening: "Hört zu",
  askTitle: "Beim Hersteller des Browsers sprechen?",
  ask: "Dieser Browser verwandelt Sprache nicht selbst in Text. Er schickt, was das Mikrofon hört, an Server seines Herstellers; dort wird Text daraus. Was Sie dann das Modell fragen, bleibt, wo es immer bleibt.",
  agree: "Meine Sprache senden",
  refuse: "Nein",
  onDevice: "Sprache wird auf diesem Gerät zu Text.",
  downloadTitle: "Sprache auf diesem Gerät",
  download:
    "Dieser Browser kann Sprache selbst in Text verwandeln. Dafür lädt er einmal ein Sprachpaket von seinem Hersteller; danach verlässt nichts, was Sie sagen, dieses Gerät.",
  downloadAgree: "Herunterladen",
  downloading: "Das Sprachpaket wird geladen",
  failures: {
    "not-allowed":
      "Das Mikrofon wurde nicht erlaubt. Erlauben Sie es in den Einstellungen des Browsers für diese Seite.",
    "service-not-allowed": "Dieser Browser erlaubt hier keine Spracherkennung.",
    "no-speech": "Es war nichts zu hören.",
    "audio-capture": "Es gibt kein Mikrofon.",
    network: "Der Browser hat die Server seines Herstellers für Spracherkennung nicht erreicht.",
    "language-not-supported": "Dieser Browser versteht diese Sprache nicht.",
    other: "Die Spracherkennung ist gescheitert.",
  },
  readAloud: "Vorlesen",
  stopReading: "Nicht mehr vorlesen",
};
