import { describe, expect, it } from "vitest";

import { AnswerChannel } from "../../web/src/api/http-answer.ts";
import { Requests } from "../../web/src/api/requests.ts";
import type { PythonHost } from "../../web/src/api/python.ts";
import type { HttpAnswer, HttpControl } from "../../web/src/api-protocol.ts";
import { TransomError } from "../../web/src/errors.ts";
import { FakePort } from "./fake-port.ts";

type Port = FakePort<HttpControl, HttpAnswer>;

const HEADERS = JSON.stringify([["Content-Type", "text/event-stream"]]);

function open() {
  const port: Port = new FakePort();
  const reasons: string[] = [];
  const channel = new AnswerChannel(port, (reason) => {
    reasons.push(reason);
  });
  return { port, channel, reasons };
}

/** What was posted: chunks as texts, all else as its kind. */
function heard(port: Port): string[] {
  const decoder = new TextDecoder();
  return port.posted.map((each) =>
    each.kind === "chunk" ? `"${decoder.decode(each.bytes)}"` : each.kind,
  );
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

describe("an answer on its way", () => {
  it("says its head at once, and nothing of its body before it is pulled", async () => {
    const { port, channel } = open();
    channel.head(200, HEADERS);
    channel.write("one");
    channel.write("two");
    await turn();
    expect(port.posted).toEqual([
      { kind: "head", status: 200, headers: [["Content-Type", "text/event-stream"]] },
    ]);
    port.receive({ kind: "pull" });
    expect(heard(port)).toEqual(["head", '"onetwo"']);
  });

  it("gives one chunk for each pull, with all of one turn in it", async () => {
    const { port, channel } = open();
    port.receive({ kind: "pull" });
    channel.write("a");
    channel.write("b");
    expect(heard(port)).toEqual([]);
    await turn();
    channel.write("c");
    await turn();
    expect(heard(port)).toEqual(['"ab"']);
    channel.write("");
    port.receive({ kind: "pull" });
    expect(heard(port)).toEqual(['"ab"', '"c"']);
  });

  it("ends behind its last byte, and without one at once", async () => {
    const { port, channel, reasons } = open();
    channel.write("rest");
    channel.end();
    await turn();
    expect(heard(port)).toEqual([]);
    port.receive({ kind: "pull" });
    expect(heard(port)).toEqual(['"rest"', "end"]);
    expect(reasons).toEqual(["over"]);

    const empty = open();
    empty.channel.end();
    expect(heard(empty.port)).toEqual(["end"]);
  });

  it("ends in the turn of its last words", async () => {
    const { port, channel } = open();
    port.receive({ kind: "pull" });
    channel.write("all");
    channel.end();
    await turn();
    expect(heard(port)).toEqual(['"all"', "end"]);
  });

  it("keeps characters whole that come in one text", () => {
    const { port, channel } = open();
    channel.write("wörld 🦊");
    port.receive({ kind: "pull" });
    expect(heard(port)).toEqual(['"wörld 🦊"']);
  });

  it("is over when nobody waits any more", () => {
    for (const leave of [
      (port: Port) => {
        port.receive({ kind: "cancel" });
      },
      (port: Port) => {
        port.lose();
      },
    ]) {
      const { port, channel, reasons } = open();
      leave(port);
      leave(port);
      channel.head(200, HEADERS);
      channel.write("late");
      channel.end();
      port.receive({ kind: "pull" });
      expect(port.posted).toEqual([]);
      expect(reasons).toEqual(["cancelled"]);
      expect(channel.isOver).toBe(true);
    }
  });

  it("breaks off what has no end, and says nothing after it", () => {
    const { port, channel, reasons } = open();
    channel.head(200, HEADERS);
    channel.break_off();
    channel.write("late");
    channel.end();
    expect(port.posted.map(({ kind }) => kind)).toEqual(["head", "broken"]);
    expect(reasons).toEqual(["over"]);
  });

  it("is refused with the whole answer for whoever has no server", () => {
    const { port, channel, reasons } = open();
    const error = { code: "model-not-found", message: "There is none." } as const;
    channel.refuse(JSON.stringify(error), 404, HEADERS, "{}");
    channel.write("late");
    expect(port.posted).toEqual([
      {
        kind: "refused",
        error,
        status: 404,
        headers: [["Content-Type", "text/event-stream"]],
        body: "{}",
      },
    ]);
    expect(reasons).toEqual(["over"]);
  });
});

describe("requests", () => {
  function request(target: string) {
    const port: Port = new FakePort();
    const body = new TextEncoder().encode('{"a":"ö"}').buffer;
    return {
      port,
      sent: { kind: "request", from: "sw", method: "POST", target, headers: [], body, port },
    } as const;
  }

  /** Answers each request with what it was given. */
  function echo() {
    const cancelled: string[] = [];
    let destroyed = 0;
    const host: PythonHost = {
      handle: (method, target, _headers, body, channel) => {
        channel.head(200, "[]");
        channel.write(`${method} ${target} ${body}`);
        return {
          cancel: () => cancelled.push(target),
          destroy: () => destroyed++,
        };
      },
    };
    return { host, cancelled, destroyed: () => destroyed };
  }

  it("wait for Python, which gets texts", async () => {
    const { host } = echo();
    let start: (host: PythonHost) => void = () => undefined;
    const requests = new Requests(
      new Promise((resolve) => {
        start = resolve;
      }),
    );
    const { port, sent } = request("/v1/chat/completions");
    requests.answer(sent);
    await turn();
    expect(port.posted).toEqual([]);
    start(host);
    await turn();
    port.receive({ kind: "pull" });
    expect(heard(port)).toEqual(["head", '"POST /v1/chat/completions {"a":"ö"}"']);
  });

  it("never reach Python when they are cancelled before it has started", async () => {
    const { host, cancelled } = echo();
    const requests = new Requests(turn().then(() => host));
    const { port, sent } = request("/v1/models");
    requests.answer(sent);
    port.receive({ kind: "cancel" });
    await turn();
    await turn();
    expect(port.posted).toEqual([]);
    expect(cancelled).toEqual([]);
  });

  it("end Python's work when they are cancelled, and let go of it", async () => {
    const { host, cancelled, destroyed } = echo();
    const requests = new Requests(Promise.resolve(host));
    const { port, sent } = request("/v1/models");
    requests.answer(sent);
    await turn();
    port.receive({ kind: "cancel" });
    await turn();
    expect(cancelled).toEqual(["/v1/models"]);
    expect(destroyed()).toBe(1);
  });

  it("are refused with the reason where Python does not start", async () => {
    const requests = new Requests(Promise.reject(new TransomError("network", "It is away.")));
    const error = { code: "network", message: "It is away." };
    for (const [target, said] of [
      ["/api/chat", "It is away."],
      ["/v1/models", { message: "It is away.", type: "server_error", param: null, code: null }],
    ] as const) {
      const { port, sent } = request(target);
      requests.answer(sent);
      await turn();
      expect(port.posted).toMatchObject([{ kind: "refused", error, status: 503 }]);
      const [refused] = port.posted;
      expect(refused?.kind === "refused" && JSON.parse(refused.body)).toEqual({ error: said });
    }
  });
});
