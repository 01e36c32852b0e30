// The backend's HTTP contract: ../../backends/README.md. Every request carries the session cookie, also to another origin.

import { BACKEND } from "./settings.js";

/** What the backend refused: `code` and `message` are its own; `UNREACHABLE` also stands for what CORS hides. */
export class BackendFailure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function ask(path, { headers, ...options } = {}) {
  let answer;
  try {
    // Yours: headers of your own, such as `Authorization`. The browser asks for permission first (CORS preflight).
    answer = await fetch(BACKEND + path, {
      credentials: "include",
      headers: { "X-Requested-With": "frontend", ...headers },
      ...options,
    });
  } catch {
    throw new BackendFailure("UNREACHABLE", `${BACKEND} cannot be reached, or does not accept pages of ${location.origin}.`);
  }
  if (answer.ok) return answer;
  const { code, message } = await answer.json().catch(() => ({}));
  throw new BackendFailure(code ?? "FAILED", message ?? `The backend answered ${answer.status}.`);
}

/** Whether somebody is signed in. Yours: your own "who am I". */
export async function isSignedIn() {
  try {
    await ask("/sso/metabase/status");
  } catch (failure) {
    if (failure.code === "NOT_SIGNED_IN") return false;
    // Signed in, and without access: what shows analytics says so.
    if (failure.code !== "NO_ACCESS") throw failure;
  }
  return true;
}

export const signIn = (user) =>
  ask("/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user }) });

export const signOut = () => ask("/logout", { method: "POST" });

/** `{ jwt }`, for who is signed in. */
export const fetchToken = async () => (await ask("/sso/metabase?response=json")).json();

/** Where an iframe goes to be signed in to Metabase and end at `returnTo`, a path in Metabase. */
export const interactiveUrl = (returnTo) => `${BACKEND}/sso/metabase?return_to=${encodeURIComponent(returnTo)}`;
