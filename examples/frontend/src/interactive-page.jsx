// Interactive (full-app) embedding: Metabase itself in an iframe, signed in by way of the backend. Needs no SDK.

import { createRoot } from "react-dom/client";
import { interactiveUrl } from "./backend.js";
import { SignedIn } from "./session.jsx";
import { DASHBOARD, METABASE } from "./settings.js";

/** Metabase has a session of its own, in a cookie: its page for that ends it. Waits until the page has loaded. */
const leaveMetabase = () =>
  new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.onload = resolve;
    frame.src = `${METABASE}/auth/logout`;
    document.body.append(frame);
  });

createRoot(document.getElementById("root")).render(
  <SignedIn beforeSignOut={leaveMetabase}>
    <iframe title="Metabase" src={interactiveUrl(`/dashboard/${DASHBOARD}`)} />
  </SignedIn>,
);
