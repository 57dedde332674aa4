/** Lint rules of the web room; the import rules are the ones in `web/README.md`. */
import eslint from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

/** Refuses imports into the named folders of `web/src`, with the reason. */
function forbid(message, ...folders) {
  const group = folders.flatMap((folder) => [`**/${folder}/*`, `./${folder}/*`]);
  return { "no-restricted-imports": ["error", { patterns: [{ group, message }] }] };
}

export default defineConfig(
  { ignores: ["web/dist/**", "web/dist-node/**"] },
  eslint.configs.recommended,
  {
    files: ["web/**/*.{ts,tsx}", "tests/web/**/*.{ts,tsx}"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      eqeqeq: "error",
      "no-console": "error",
    },
  },
  {
    files: ["web/src/store/**"],
    rules: forbid(
      "store/ knows bytes and digests, no model and no page",
      "worker",
      "client",
      "page",
      "chat",
      "tools",
      "documents",
    ),
  },
  {
    files: ["web/src/worker/**"],
    rules: forbid(
      "worker/ has no DOM; contexts meet in protocol.ts only",
      "client",
      "page",
      "chat",
      "tools",
      "documents",
      "node",
    ),
  },
  {
    files: ["web/src/client/**"],
    rules: forbid(
      "client/ talks to the worker by messages only",
      "worker",
      "store",
      "page",
      "tools",
      "documents",
      "node",
    ),
  },
  {
    files: ["web/src/page/**"],
    rules: forbid(
      "the page talks to client/, chat/, tools/ and documents/ only",
      "worker",
      "store",
      "api",
      "outside",
      "sandbox",
      "node",
    ),
  },
  {
    files: ["web/src/chat/**", "web/src/documents/**"],
    rules: forbid(
      "conversations and documents know no page, and ask models by client/ only",
      "worker",
      "store",
      "page",
      "api",
      "sw",
      "outside",
      "sandbox",
      "node",
    ),
  },
  {
    files: ["web/src/tools/**"],
    rules: forbid(
      "tools know no page; other hosts are asked through outside-protocol.ts only",
      "worker",
      "store",
      "page",
      "sw",
      "outside",
      "node",
    ),
  },
  {
    files: ["web/src/outside/**", "web/src/sandbox/**"],
    rules: forbid(
      "a frame that does one thing knows its messages only",
      "worker",
      "store",
      "client",
      "page",
      "chat",
      "tools",
      "documents",
      "api",
      "sw",
      "embed",
      "node",
    ),
  },
  {
    files: ["web/src/api/**"],
    rules: forbid(
      "api/ has Python and ports; contexts meet in api-protocol.ts only",
      "worker",
      "store",
      "client",
      "page",
      "sw",
      "node",
    ),
  },
  {
    files: ["web/src/sw/**"],
    rules: forbid(
      "the service worker meets others in api-protocol.ts only",
      "api",
      "worker",
      "store",
      "client",
      "page",
      "node",
    ),
  },
  { files: ["web/src/node/**"], rules: { "no-console": "off" } },
  {
    // As people would write them: no build, no types.
    files: ["web/examples/*.js"],
    languageOptions: {
      globals: { document: false, fetch: false, TextDecoder: false, URL: false },
    },
  },
);
