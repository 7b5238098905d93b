/** Builds the page as plain files of its own origin, so that a `default-src 'self'` policy holds. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: {
    environment: "node",
    include: ["tests/**/*.test.ts"],
  },
});
