import type { Words } from "../words.ts";

const plural = new Intl.PluralRules("de");

function counted(count: number, one: string, other: string): string {
  return `${count} ${plural.select(count) === "one" ? one : other}`;
}

export const tools: Words["tools"] = {
  title: "Werkzeuge",
  names: {
    calculator: "Rechner",
    clock: "Uhr",
    fetch: "Webseite lesen",
    python: "Python",
  },
  explained: {
    calculator: "Rechnet genau. Läuft hier.",
    clock: "Nennt Datum und Uhrzeit, hier und anderswo. Läuft hier.",
    fetch: "Liest eine Adresse im Web, nachdem Sie sie gesehen und zugestimmt haben.",
    python: "Führt kleine Programme in einem abgeschlossenen Bereich dieses Browsers aus.",
  },
  from: (server) => `von ${server}`,
  state: {
    waiting: "wartet auf Sie",
    running: "läuft",
    done: "fertig",
    failed: "fehlgeschlagen",
    refused: "nicht erlaubt",
  },
  input: "Gefragt mit",
  nothingAsked: "Ohne Angaben aufgerufen.",
  result: "Ergebnis",
  error: "Was schiefging",
  inputOf: (tool) => `Womit „${tool}“ gefragt wurde`,
  resultOf: (tool) => `Was „${tool}“ geantwortet hat`,
  picture: (tool) => `Ein Bild von „${tool}“`,

  approval: {
    question: (tool) => `„${tool}“ erlauben?`,
    fetch: "Das Modell möchte diese Adresse lesen:",
    server: (server) =>
      `Das Modell möchte ein Werkzeug von „${server}“ aufrufen. Der Server ist hier:`,
    tool: "Das Modell möchte dieses Werkzeug aufrufen.",
    sends: "Das wird dorthin gesendet:",
    leaves:
      "Das verlässt dieses Gerät: Wer den Server dort betreibt, sieht die Anfrage und Ihre Netzwerkadresse.",
    warnings: {
      "private-address":
        "Diese Adresse liegt auf Ihrem eigenen Gerät oder in Ihrem eigenen Netz. Erlauben Sie es nur, wenn Sie wissen, was dort ist.",
      "carries-text":
        "Die Adresse trägt Text hinter dem Fragezeichen, der etwas aus diesem Gespräch verraten kann.",
    },
    once: "Einmal erlauben",
    always: "In diesem Gespräch immer",
    alwaysFor: (site) => `In diesem Gespräch immer für ${site}`,
    no: "Nicht erlauben",
  },

  reasoning: {
    thinking: "Denkt nach …",
    thought: "Nachgedacht",
    thoughtBriefly: "Einen Moment nachgedacht",
    thoughtFor: (time) => `${time} nachgedacht`,
  },

  panel: {
    intro:
      "Was das Modell in diesem Gespräch benutzen darf. Werkzeuge, die andere Server erreichen, fragen Sie jedes Mal vorher.",
    builtins: "Von dieser Seite",
    asksFirst: "fragt vorher",
    noTools:
      "Dieses Modell hat nicht gelernt, Werkzeuge zu benutzen: Vielleicht beachtet es sie nicht.",
    on: (count) => `${counted(count, "Werkzeug", "Werkzeuge")} an`,
    servers: "MCP-Server",
    serversExplained:
      "Server mit eigenen Werkzeugen, die das Model Context Protocol über HTTP sprechen. Dieser Browser fragt sie selbst, und nur, wenn Sie sie verbinden oder einen Aufruf erlauben.",
    noServers: "Noch ist keiner da.",
    addServer: "Server hinzufügen",
    serverTools: (count) => counted(count, "Werkzeug", "Werkzeuge"),
    noServerTools: "Er bietet keine Werkzeuge an.",
    notListed: "Verbinden Sie ihn, um zu sehen, was er anbietet.",
    allOf: (server) => `Alle Werkzeuge von ${server}`,
    connect: "Verbinden",
    refresh: "Neu fragen",
    edit: "Bearbeiten",
    remove: "Entfernen",
    removeQuestion: (server) => `„${server}“ und sein Token aus diesem Browser entfernen?`,
    keep: "Behalten",
    link: {
      idle: "nicht verbunden",
      connecting: "wird verbunden …",
      connected: "verbunden",
      failed: "nicht erreicht",
    },
    name: "Name",
    nameHint: "Wie Sie ihn nennen. Ohne Angabe: der Name des Rechners.",
    url: "Adresse",
    urlHint:
      "Zum Beispiel https://mcp.example.org/mcp oder auf diesem Gerät http://localhost:8000/mcp.",
    token: "Token",
    tokenHint:
      "Wird als „Authorization: Bearer …“ gesendet. Er bleibt unverschlüsselt in diesem Browser und geht nur an diesen Server.",
    headers: "Weitere Header",
    headersHint: "Einer pro Zeile, etwa X-Key: Wert. Aufbewahrt wie der Token.",
    save: "Speichern und verbinden",
    cancel: "Abbrechen",
    faults: {
      none: "Das ist keine Adresse. Schreiben Sie sie ganz aus, mit https:// davor.",
      unencrypted:
        "Nur Adressen mit https: können gefragt werden, und mit http: nur dieses Gerät (localhost).",
      scheme:
        "Nur Adressen mit https: können gefragt werden, und mit http: nur dieses Gerät (localhost).",
      credentials:
        "In der Adresse steht ein Name oder Passwort. Lassen Sie es weg; für einen Token gibt es ein Feld.",
      token: "Ein Token hat keine Leerzeichen, nur einfache Buchstaben, Ziffern und Zeichen.",
      header: "Schreiben Sie jeden Header in eine Zeile, etwa X-Key: Wert.",
      "too-many-headers": "Das sind mehr Header, als Server annehmen.",
      "too-many-servers":
        "Es sind schon so viele Server da, wie diese Seite behält. Entfernen Sie zuerst einen.",
    },
    problems: {
      unreachable:
        "Keine Antwort. Entweder läuft dort nichts, oder der Server lässt sich nicht von Webseiten fragen: Er muss den Ursprung dieser Seite erlauben (CORS).",
      unauthorized:
        "Der Server verlangt einen Token oder einen anderen. Eine Anmeldung auf einer eigenen Seite (OAuth) ist hier nicht möglich: Erstellen Sie dort einen Token und tragen Sie ihn ein.",
      forbidden: "Mit diesem Token erlaubt der Server das nicht.",
      redirected:
        "Der Server verweist an eine andere Adresse, und dorthin geht der Token nicht mit. Tragen Sie jene Adresse ein; oft unterscheidet sie nur ein Schrägstrich am Ende.",
      "not-mcp":
        "Dort antwortet etwas, aber es spricht kein MCP. Sehen Sie sich das Ende der Adresse an: Oft ist es /mcp.",
      "hidden-session":
        "Der Server verbirgt seine Sitzung vor Webseiten. Er muss „Access-Control-Expose-Headers: Mcp-Session-Id“ senden.",
      timeout: "Der Server hat zu lange gebraucht.",
      refused: "Der Server hat abgelehnt.",
      failed: "Das hat nicht geklappt.",
    },
    said: (text) => `Der Server sagt: ${text}`,
  },
};
