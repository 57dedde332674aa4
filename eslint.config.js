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
    files: ["web/**/*.ts", "tests/web/**/*.ts"],
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
    ),
  },
  {
    files: ["web/src/worker/**"],
    rules: forbid(
      "worker/ has no DOM; contexts meet in protocol.ts only",
      "client",
      "page",
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
      "node",
    ),
  },
  {
    files: ["web/src/page/**"],
    rules: forbid("the page talks to client/ only", "worker", "store", "node"),
  },
  { files: ["web/src/node/**"], rules: { "no-console": "off" } },
);
