import { describe, expect, it } from "vitest";

import type { Place } from "../../web/src/api-protocol.ts";
import { decide, servedBy } from "../../web/src/sw/decision.ts";
import { ownError } from "../../web/src/sw/own-errors.ts";
import { apiTarget, carriesBlob } from "../../web/src/sw/routing.ts";

describe("apiTarget", () => {
  it.each([
    ["http://host/app/v1/models?limit=2", "/v1/models?limit=2"],
    ["http://host/v1/models", "/v1/models"],
    ["http://host/app/api/tags", "/api/tags"],
    ["http://host/api/chat", "/api/chat"],
    ["http://host/app/v1", "/v1"],
    ["http://host/app/v1/models/me%2Ftiny#x", "/v1/models/me%2Ftiny"],
    ["http://host/app/tokenize", "/tokenize"],
    ["http://host/rerank", "/rerank"],
    ["http://host/app/v1nothing", null],
    ["http://host/app/v2/library/x/manifests/latest", null],
    ["http://host/app/webllm/x", null],
    ["http://host/app/healthz", null],
    ["http://host/app/index.html?x=/v1/", null],
    ["http://host/app/", null],
    ["http://host/other/v1/models", null],
    ["http://host/app/assets/api/x.js", null],
    ["http://elsewhere/app/v1/models", null],
    ["https://host/app/v1/models", null],
  ])("%s is %s", (url, target) => {
    expect(apiTarget(url, "http://host/app/")).toBe(target);
  });

  it("is the same where the page is at the root", () => {
    expect(apiTarget("http://host/v1/models", "http://host/")).toBe("/v1/models");
    expect(apiTarget("http://host/app/v1/models", "http://host/")).toBeNull();
  });

  it("knows what is too large to be read", () => {
    expect(carriesBlob("/api/blobs/sha256:12")).toBe(true);
    expect(carriesBlob("/api/create")).toBe(false);
  });
});

describe("decide", () => {
  const place = (wanted: Place["wanted"], hasWebGpu: boolean, hasServer: boolean) => {
    const { where, mayTurn } = decide({ wanted, hasWebGpu, hasServer });
    return mayTurn ? `${where}, else the other` : where;
  };

  it.each([
    ["auto", true, true, "browser, else the other"],
    ["auto", true, false, "browser"],
    ["auto", false, true, "server, else the other"],
    ["auto", false, false, "browser"],
    ["server", true, true, "server, else the other"],
    ["server", true, false, "browser"],
    ["server", false, false, "browser"],
    ["browser", true, true, "browser"],
    ["browser", false, true, "browser"],
  ] as const)("%s, adapter %s, server %s: %s", (wanted, hasWebGpu, hasServer, answers) => {
    expect(place(wanted, hasWebGpu, hasServer)).toBe(answers);
  });
});

describe("servedBy", () => {
  it("says who and why", () => {
    expect(servedBy("browser", "as chosen")).toBe("browser; as chosen");
    expect(servedBy("server", "it cannot.", "nor can I;")).toBe("server; it cannot; nor can I");
  });

  it("is a value that a header may have, whatever an engine says", () => {
    const value = servedBy("browser", "größer\r\nSet-Cookie: a", "x".repeat(1000));
    expect(value).toMatch(/^[ -~]*$/);
    expect(value.length).toBeLessThanOrEqual(300);
    expect(new Headers({ a: value }).get("a")).toBe(value);
  });
});

describe("ownError", () => {
  const said = async (target: string, headers = {}) => {
    const response = ownError(503, "no", target, { headers: new Headers(headers) });
    return [response.status, (await response.json()) as unknown];
  };

  it("is in the dialect of the address", async () => {
    expect(await said("/api/chat")).toEqual([503, { error: "no" }]);
    expect(await said("/v1/models")).toEqual([
      503,
      { error: { message: "no", type: "server_error", param: null, code: null } },
    ]);
    const anthropic = {
      type: "error",
      error: { type: "overloaded_error", message: "no" },
      request_id: null,
    };
    expect(await said("/v1/messages")).toEqual([529, anthropic]);
    expect(await said("/v1/models", { "anthropic-version": "1" })).toEqual([529, anthropic]);
  });
});
