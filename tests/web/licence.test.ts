/** The words of a model's licence, as far as its bundle brings them. */
import { describe, expect, it } from "vitest";

import type { FileDescriptor } from "../../web/src/store/manifest.ts";
import { MEDIA_TYPES } from "../../web/src/store/manifest-types.ts";
import type { VerifiedBytes } from "../../web/src/store/verify.ts";
import { licencesOf, readLicence } from "../../web/src/worker/licence.ts";

function layer(title: string, mediaType: string = MEDIA_TYPES.license, size = 10): FileDescriptor {
  return { title, mediaType, size } as FileDescriptor;
}

function bundle(texts: Record<string, string>) {
  return {
    readFile: ({ title }: FileDescriptor) => {
      const text = texts[title];
      return text === undefined
        ? Promise.reject(new TypeError("offline"))
        : Promise.resolve(new TextEncoder().encode(text) as VerifiedBytes);
    },
  };
}

describe("readLicence", () => {
  it("puts all texts together, each once", async () => {
    const layers = [layer("a"), layer("t", MEDIA_TYPES.template), layer("b"), layer("c")];
    const texts = { a: "Apache License", b: "and a use policy", c: "Apache License" };
    expect(await readLicence(bundle(texts), { layers })).toBe("Apache License\n\nand a use policy");
  });

  it("is null where there is none, or only blanks", async () => {
    expect(await readLicence(bundle({}), { layers: [] })).toBeNull();
    expect(await readLicence(bundle({ a: " \n" }), { layers: [layer("a")] })).toBeNull();
  });

  it("keeps nobody from a model whose licence does not come", async () => {
    expect(await readLicence(bundle({}), { layers: [layer("a")] })).toBeNull();
  });

  it("reads as much and as many as the server takes", () => {
    const largest = 1024 * 1024;
    const layers = [
      layer("a", MEDIA_TYPES.license, largest),
      layer("b", MEDIA_TYPES.license, largest + 1),
    ];
    expect(licencesOf({ layers }).map(({ title }) => title)).toEqual(["a"]);
    const many = Array.from({ length: 17 }, (_, index) => layer(String(index)));
    expect(licencesOf({ layers: many })).toHaveLength(16);
  });
});
