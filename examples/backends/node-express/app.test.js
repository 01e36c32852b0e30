// This backend alone, with a token service that is made up. ../conformance tests it before the real one.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import grpc from "@grpc/grpc-js";
import { createApp, ssoQuery } from "./app.js";
import { settingsFrom } from "./settings.js";
import { tokenService } from "./token-service.js";

const PEOPLE = { ada: { email: "ada@example.com" }, alan: { email: "alan@partner.example" } };
const refusal = Object.assign(new Error("for operators"), { code: grpc.status.PERMISSION_DENIED });
const client = {
  IssueMetabaseToken({ user, return_to }, _options, callback) {
    if (user.email.endsWith("partner.example")) return callback(refusal);
    return callback(null, { jwt: `for ${user.email}`, sso_url: `http://bi${return_to}` });
  },
};
let server, url;

before(async () => {
  server = createApp(settingsFrom({}), PEOPLE, tokenService(client, "")).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  url = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());

async function browse(user, path) {
  const headers = { "content-type": "application/json" };
  const signIn = await fetch(`${url}/login`, { method: "POST", headers, body: JSON.stringify({ user }) });
  const cookie = signIn.headers.get("set-cookie")?.split(";")[0] ?? "";
  return fetch(url + path, { headers: { cookie }, redirect: "manual" });
}

test("the SDK gets a token for who is signed in", async () => {
  assert.equal((await browse("nobody", "/sso/metabase?response=json")).status, 401);
  assert.deepEqual(await (await browse("ada", "/sso/metabase?response=json")).json(), { jwt: "for ada@example.com" });
  assert.equal((await browse("ada", "/sso/metabase?return_to=/a?b&c")).headers.get("location"), "http://bi/a?b&c");
});

test("a refusal is 403", async () => {
  const answer = await browse("alan", "/sso/metabase?response=json");
  assert.deepEqual([answer.status, (await answer.json()).code], [403, "NO_ACCESS"]);
});

test("the query is read as Metabase writes it", () => {
  assert.deepEqual(ssoQuery("response=json"), { wantsJson: true, returnTo: "/" });
  assert.deepEqual(ssoQuery("return_to=%2Fa%3Fb%26c"), { wantsJson: false, returnTo: "/a?b&c" });
  assert.deepEqual(ssoQuery("x=1&return_to=/a?b&response=json"), { wantsJson: false, returnTo: "/a?b&response=json" });
});
