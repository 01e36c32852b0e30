// The SDK that the example pins. From 57 on its package is a loader: the code that signs in is served by Metabase, and a
// stand-in has none. Tested here: what the loader does up to there, and that what it hands over would sign in.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { nothingIsShown, scene, signIn, stage } from "./scenes.js";

const { dependencies } = createRequire(import.meta.url)("../../examples/frontend/package.json");
const PINNED = dependencies["@metabase/embedding-sdk-react"];

/** Signs in to the backend, and waits until the loader has asked Metabase for the SDK's code. */
async function loaderHasAsked(page) {
  await page.goto(stage.newest.origin);
  const asked = page.waitForRequest((request) => new URL(request.url()).pathname === "/app/embedding-sdk.js");
  await signIn(page);
  return asked;
}

const withoutCode = { version: 61, failures: true };
scene("the loader asks Metabase for the SDK, and for no token before", withoutCode, async ({ page, metabase }) => {
  const tokens = [];
  page.on("request", (request) => request.url().endsWith("response=json") && tokens.push(request.url()));
  const failed = page.waitForEvent("console", (message) => message.text().startsWith("Error loading SDK bundle"));
  await page.route("**/app/embedding-sdk.js?*", (route) => route.fulfill({ status: 404 }));
  const script = await loaderHasAsked(page);
  assert.equal(script.url(), `${stage.world.metabase}/app/embedding-sdk.js?packageVersion=${PINNED}`);
  await failed;
  // `useMetabaseAuthStatus` says null: nothing to see.
  await page.locator('main[data-status="uninitialized"]').waitFor();
  await nothingIsShown(page);
  assert.deepEqual([tokens, await metabase.exchanges()], [[], []]);
});

// What the served code is documented to do with the configuration, done here in its place, in the page.
for (const { version, method } of [
  { version: 58, method: "GET" },
  { version: 61, method: "POST" },
]) {
  const name = `what the loader hands over signs in to version ${version} with ${method}`;
  scene(name, { version, failures: true }, async ({ page, metabase }) => {
    await loaderHasAsked(page);
    const config = await page.evaluate(() =>
      JSON.stringify(window.METABASE_PROVIDER_PROPS_STORE.getState().props.authConfig),
    );
    assert.deepEqual(JSON.parse(config), {
      metabaseInstanceUrl: stage.world.metabase,
      preferredAuthMethod: "jwt",
      jwtProviderUri: `${stage.world.backend}/sso/metabase`,
    });
    const seen = await page.evaluate(async (method) => {
      const { metabaseInstanceUrl, jwtProviderUri, fetchRequestToken } =
        window.METABASE_PROVIDER_PROPS_STORE.getState().props.authConfig;
      const byDefault = await fetch(`${jwtProviderUri}?response=json`, { credentials: "include" });
      const { jwt } = await fetchRequestToken();
      const headers = { "X-Metabase-Client": "embedding-sdk-react" };
      const exchanged =
        method === "GET"
          ? await fetch(`${metabaseInstanceUrl}/auth/sso?jwt=${jwt}`, { headers })
          : await fetch(`${metabaseInstanceUrl}/auth/sso`, {
              method,
              headers: { ...headers, "Content-Type": "application/json" },
              body: JSON.stringify({ jwt }),
            });
      const session = await exchanged.json();
      const current = await fetch(`${metabaseInstanceUrl}/api/user/current`, {
        headers: { "X-Metabase-Session": session.id },
      });
      return { byDefault: Object.keys(await byDefault.json()), status: session.status, email: (await current.json()).email };
    }, method);
    assert.deepEqual(seen, { byDefault: ["jwt"], status: "ok", email: "ada@example.com" });
    const [exchange, ...others] = await metabase.exchanges();
    assert.deepEqual([exchange.method, exchange.token.in, others], [method, method === "GET" ? "query" : "body", []]);
  });
}
