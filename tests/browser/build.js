// Builds the example frontend as `npm run build` does, for a Metabase and a backend of the tests.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const FRONTEND = fileURLToPath(new URL("../../examples/frontend/", import.meta.url));
const { build } = await import(createRequire(`${FRONTEND}package.json`).resolve("vite"));

/**
 * `sdk`: the package to take for `@metabase/embedding-sdk-react`; none = the one that the example pins.
 * `told`: the variables of `.env.example`. `development`: as `npm run dev` would serve it.
 */
export async function buildFrontend({ outDir, told, sdk, development = false }) {
  Object.assign(process.env, told, { NODE_ENV: development ? "development" : "production" });
  await build({
    root: FRONTEND,
    configFile: `${FRONTEND}vite.config.js`,
    envDir: false,
    logLevel: "error",
    resolve: { alias: sdk ? { "@metabase/embedding-sdk-react": sdk } : {}, dedupe: ["react", "react-dom"] },
    build: { outDir, emptyOutDir: true },
  });
}
