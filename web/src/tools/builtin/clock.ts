/** The clock: models do not know what day it is. */
import type { Tool } from "../types.ts";

/** For tests. */
type Now = () => Date;

export function createClock(now: Now = () => new Date()): Tool {
  return {
    name: "clock",
    title: "",
    description:
      "The date, time and weekday now, in the user's time zone or any other. Use it for every question " +
      "about today, now, or how long until a date.",
    parameters: {
      type: "object",
      properties: {
        time_zone: {
          type: "string",
          description: "IANA name such as Europe/Berlin or UTC; left out: the user's own.",
        },
      },
    },
    approval: "never",
    origin: "builtin",
    run(input) {
      const { time_zone: wanted } = input as { time_zone?: string };
      const zone = wanted?.trim() ?? "";
      return Promise.resolve({ text: told(now(), zone === "" ? ownZone() : zone) });
    },
  };
}

function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** @throws Error where nobody knows the zone. */
function told(moment: Date, zone: string): string {
  const parts = partsOf(moment, zone);
  const { year, month, day, hour, minute, second, weekday, timeZoneName: offset } = parts;
  const shift = offset === "GMT" ? "+00:00" : offset.replace("GMT", "");
  return [
    `${weekday}, ${year}-${month}-${day}, ${hour}:${minute}:${second}`,
    `Time zone: ${zone} (UTC${shift})`,
    `ISO 8601: ${year}-${month}-${day}T${hour}:${minute}:${second}${shift}`,
    `Day ${dayOfYear(Number(year), Number(month), Number(day))} of the year, ISO week ${isoWeek(Number(year), Number(month), Number(day))}`,
    `Unix time: ${Math.floor(moment.getTime() / 1000)}`,
  ].join("\n");
}

type Part = "year" | "month" | "day" | "hour" | "minute" | "second" | "weekday" | "timeZoneName";

function partsOf(moment: Date, timeZone: string): Record<Part, string> {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      weekday: "long",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      timeZoneName: "longOffset",
    });
  } catch {
    throw new Error(`${JSON.stringify(timeZone.slice(0, 100))} is no time zone.${near(timeZone)}`);
  }
  return Object.fromEntries(
    format.formatToParts(moment).map(({ type, value }) => [type, value]),
  ) as Record<Part, string>;
}

/** Zones with that city in their name. */
function near(wanted: string): string {
  const word = wanted.split("/").at(-1)?.trim().replaceAll(" ", "_").toLowerCase() ?? "";
  const alike =
    word.length < 3
      ? []
      : Intl.supportedValuesOf("timeZone").filter((name) => name.toLowerCase().includes(word));
  return alike.length > 0
    ? ` Did you mean ${alike.slice(0, 5).join(", ")}?`
    : " Use an IANA name such as Europe/Berlin, America/New_York or UTC.";
}

const DAY = 86_400_000;

function dayOfYear(year: number, month: number, day: number): number {
  return Math.round((Date.UTC(year, month - 1, day) - Date.UTC(year, 0, 0)) / DAY);
}

/** The week of ISO 8601: the one with the year's first Thursday is the first. */
function isoWeek(year: number, month: number, day: number): number {
  const date = new Date(Date.UTC(year, month - 1, day));
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * DAY);
  const first = Date.UTC(thursday.getUTCFullYear(), 0, 1);
  return Math.floor((thursday.getTime() - first) / DAY / 7) + 1;
}
