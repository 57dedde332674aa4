// @vitest-environment jsdom
import { afterEach, describe, expect, it } from "vitest";

import {
  formatBytes,
  formatDelay,
  formatRate,
  formatSeconds,
  formatWhole,
} from "../../web/src/page/format.ts";
import { speak } from "../../web/src/page/i18n/words.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";

class Clock {
  seconds = 0;
  readonly now = (): number => this.seconds;
}

describe("ByteMeter", () => {
  it("knows rate and time left of a steady download", () => {
    const clock = new Clock();
    const meter = new ByteMeter(clock.now);
    meter.expect(1000);
    meter.arrived("a", 0);
    clock.seconds = 2;
    meter.arrived("a", 200);
    expect(meter.figures()).toEqual({
      doneBytes: 200,
      totalBytes: 1000,
      bytesFromCache: 0,
      bytesDownloaded: 200,
      bytesPerSecond: 100,
      secondsLeft: 8,
    });
  });

  it("follows a connection that becomes slow", () => {
    const clock = new Clock();
    const meter = new ByteMeter(clock.now);
    meter.expect(10_000);
    for (const [seconds, bytes] of [
      [0, 0],
      [1, 5000],
      [10, 5100],
      [14, 5140],
    ] as const) {
      clock.seconds = seconds;
      meter.arrived("a", bytes);
    }
    expect(meter.figures().bytesPerSecond).toBe(10);
  });

  it("lets the rate sink while nothing arrives", () => {
    const clock = new Clock();
    const meter = new ByteMeter(clock.now);
    meter.arrived("a", 0);
    clock.seconds = 1;
    meter.arrived("a", 100);
    clock.seconds = 10;
    expect(meter.figures().bytesPerSecond).toBe(10);
  });

  it("counts the cache as done, but not as speed", () => {
    const meter = new ByteMeter(new Clock().now);
    meter.expect(300);
    meter.finished("a", { cached: 300, downloaded: 0 });
    expect(meter.figures()).toMatchObject({
      doneBytes: 300,
      bytesPerSecond: 0,
      secondsLeft: null,
    });
  });

  it("counts a file that started over once", () => {
    const meter = new ByteMeter(new Clock().now);
    meter.arrived("a", 90);
    meter.arrived("a", 0);
    meter.arrived("a", 40);
    meter.finished("a", { cached: 0, downloaded: 100 });
    meter.arrived("b", 5);
    expect(meter.figures().bytesDownloaded).toBe(105);
  });

  it("counts a file that is read twice once", () => {
    const meter = new ByteMeter(new Clock().now);
    meter.finished("a", { cached: 30, downloaded: 70 });
    meter.arrived("a", 50);
    meter.finished("a", { cached: 100, downloaded: 0 });
    expect(meter.figures()).toMatchObject({ bytesDownloaded: 70, bytesFromCache: 30 });
  });
});

describe("figures for people", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [97_543_210, "97.5 MB"],
    [123_456_789, "123 MB"],
    [2.5e9, "2.5 GB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each([
    [0.2, "0 s"],
    [59.4, "59 s"],
    [75, "1 min 15 s"],
    [3720, "1 h 2 min"],
  ])("%d seconds are %s", (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });

  it("shows a decimal where it matters", () => {
    expect(formatRate(0.52)).toBe("0.5 tokens/s");
    expect(formatRate(48.6)).toBe("49 tokens/s");
  });
});

describe("figures in other languages", () => {
  afterEach(() => speak("en"));

  it("writes German ones with a comma, and with a point in thousands", async () => {
    await speak("de");
    expect(formatBytes(97_543_210)).toBe("97,5 MB");
    expect(formatDelay(0.23)).toBe("0,2 s");
    expect(formatRate(0.52)).toBe("0,5 Token/s");
    expect(formatWhole(131_072)).toBe("131.072");
  });

  it("writes Arabic ones with Arabic units, in the digits of the rest of the line", async () => {
    await speak("ar");
    expect(formatBytes(97_543_210)).toBe("97.5 ميغابايت");
    expect(formatSeconds(75)).toBe("1 د 15 ث");
    expect(formatRate(48.6)).toBe("49 رمز/ث");
    expect(formatWhole(4096)).toBe("4,096");
  });

  it("says a short wait to a tenth, and a long one in whole seconds", () => {
    expect(formatDelay(9.96)).toBe("10.0 s");
    expect(formatDelay(12.4)).toBe("12 s");
  });
});
