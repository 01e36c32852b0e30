// The stage for a whole test file, and what the tests of both kinds of embedding do and look at.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { buildFrontend } from "./build.js";
import { Metabase, launch, serve, startWorld, temporaryFolder } from "./stage.js";

/** The newest SDK whose package has all of its code. Of later ones, Metabase serves it. */
const SDK_56 = fileURLToPath(import.meta.resolve("sdk-56"));
const SCREENSHOTS = `${import.meta.dirname}/.output/`;
/** Ends what hangs, and decides nothing else: on a machine that builds beside this, a page has taken half a minute. */
const DEADLINE_MS = 180_000;

/**
 * Filled before the first test. Origins: `app` has the SDK of 56, `foreign` the same where the backend does not accept it,
 * `newest` the SDK that the example pins, `withKey` that of 56 as in development with an API key.
 */
export const stage = {};
const closing = [];

function keep(thing) {
  closing.unshift(thing);
  return thing;
}

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  const { folder } = keep(await temporaryFolder());
  const [app, foreign, newest, withKey] = await Promise.all(
    ["sdk-56", "sdk-56", "pinned", "with-key"].map(async (name) => keep(await serve(`${folder}/${name}`))),
  );
  const world = keep(await startWorld([app.origin, newest.origin], 56));
  const metabase = new Metabase(world);
  const { key } = await metabase.call("POST", "/api-keys", { group: "All Users" });
  const told = { VITE_METABASE_URL: world.metabase, VITE_BACKEND_URL: world.backend, VITE_METABASE_API_KEY: key };
  await buildFrontend({ outDir: `${folder}/sdk-56`, told, sdk: SDK_56 });
  await buildFrontend({ outDir: `${folder}/pinned`, told });
  await buildFrontend({ outDir: `${folder}/with-key`, told, sdk: SDK_56, development: true });
  const browser = keep(await launch());
  Object.assign(stage, { app, foreign, newest, withKey, world, metabase, key, browser, folder });
});

after(async () => {
  // All of it, whatever fails: what is left would keep the process alive.
  const results = [];
  for (const thing of closing) results.push(...(await Promise.allSettled([thing.close()])));
  const failed = results.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
});

/** A test with a browser that knows nobody. `version`: the Metabase; `failures`: uncaught errors in the page are fine. */
export function scene(name, { version = 56, failures = false }, act) {
  test(name, async () => {
    await stage.metabase.reset(version);
    const context = await stage.browser.newContext();
    context.setDefaultTimeout(DEADLINE_MS);
    const uncaught = [];
    context.on("weberror", (error) => uncaught.push(error.error()));
    const page = await context.newPage();
    try {
      await act({ page, context, metabase: stage.metabase });
      if (!failures) assert.deepEqual(uncaught, []);
    } finally {
      await page.screenshot({ path: `${SCREENSHOTS}${name.replaceAll(/\W+/g, "-")}.png` });
      await context.close();
    }
  });
}

/** What `ask` gives as soon as it is more than nothing; the test's own deadline ends it. */
export async function until(ask) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > end) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function signIn(page, user = "ada") {
  await page.getByLabel("Who").selectOption(user);
  await page.getByRole("button", { name: "Sign in" }).click();
}

export const signOut = (page) => page.getByRole("button", { name: "Sign out" }).click();

export const formIsShown = (page) => page.getByRole("button", { name: "Sign in" }).waitFor();

/** Waits until `useMetabaseAuthStatus` has come to this word. */
export const statusIs = (page, word) => page.locator(`main[data-status="${word}"]`).waitFor();

/** Waits until the SDK shows this dashboard, and that it is for this person's attributes. */
export async function dashboardIsShown(page, number, customer = "customer_id 42, region emea") {
  await page.getByText(`Dashboard ${number}`, { exact: true }).waitFor();
  await page.getByText(customer).waitFor();
}

export const choose = (page, number) => page.getByRole("spinbutton").fill(`${number}`);

export async function nothingIsShown(page) {
  assert.equal(await page.getByText("In Metabase as").count(), 0);
  assert.equal(await page.getByText("customer_id").count(), 0);
}
