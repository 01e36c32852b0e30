// Who is signed in to the backend, and the form for it. Knows nothing of Metabase.

import { useEffect, useState } from "react";
import { isSignedIn, signIn, signOut } from "./backend.js";

/** Shows `children` to who is signed in, with a way out, and a form to everybody else. `beforeSignOut` may take its time. */
export function SignedIn({ children, beforeSignOut }) {
  const [state, setState] = useState("asking");
  const [failure, setFailure] = useState("");
  const attempt = (step) => step.catch((error) => setFailure(error.message));

  useEffect(() => {
    attempt(isSignedIn().then((signedIn) => setState(signedIn ? "in" : "out")));
    // The session can end behind the page's back: signed out in another tab, or too old.
    const ended = () => setState("out");
    addEventListener(SESSION_ENDED, ended);
    return () => removeEventListener(SESSION_ENDED, ended);
  }, []);

  const enter = (event) => {
    event.preventDefault();
    setFailure("");
    attempt(signIn(new FormData(event.target).get("user")).then(() => setState("in")));
  };
  const leave = async () => {
    await beforeSignOut?.();
    await signOut();
    // The SDK starts once for a page and keeps its Metabase session: only a new page forgets it.
    location.reload();
  };

  return (
    <>
      <nav>
        <a href="/">SDK</a>
        <a href="/interactive.html">Interactive embedding</a>
        {state === "in" && (
          <button type="button" className="who" onClick={() => attempt(leave())}>
            Sign out
          </button>
        )}
      </nav>
      {failure && <p role="alert">{failure}</p>}
      {state === "out" && (
        <form onSubmit={enter}>
          <select name="user" aria-label="Who">
            <option value="ada">Ada</option>
            <option value="grace">Grace</option>
            <option value="alan">Alan (has no access)</option>
            <option value="mallory">Mallory (unknown)</option>
          </select>
          <button>Sign in</button>
        </form>
      )}
      {state === "in" && children}
    </>
  );
}

const SESSION_ENDED = "backend-session-ended";

/** To be called by whoever learns that the backend knows nobody any more. */
export const sessionEnded = () => dispatchEvent(new Event(SESSION_ENDED));
