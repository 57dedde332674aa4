/**
 * pdf.js's build for older browsers asks for Node 22 or such a browser; these tests also run in Node 20,
 * which lacks one function of it. Import this first.
 */
if (!("withResolvers" in Promise)) {
  Object.defineProperty(Promise, "withResolvers", {
    configurable: true,
    value: () => {
      const parts: Record<string, unknown> = {};
      parts["promise"] = new Promise((resolve, reject) => {
        Object.assign(parts, { resolve, reject });
      });
      return parts;
    },
  });
}

export {};
