// What the SDK shows, and only while it is signed in to Metabase.

import { MetabaseProvider, StaticDashboard, useCurrentUser, useMetabaseAuthStatus } from "@metabase/embedding-sdk-react";
import { useState } from "react";
import { authConfig } from "./metabase.js";
import { DASHBOARD } from "./settings.js";

export function Analytics() {
  return (
    <MetabaseProvider authConfig={authConfig}>
      <Gate />
    </MetabaseProvider>
  );
}

function Gate() {
  // Null until an SDK from 57 on has loaded its code from Metabase.
  const auth = useMetabaseAuthStatus();
  const status = auth?.status ?? "uninitialized";
  return (
    <main data-status={status}>
      {status === "success" && <Content />}
      {status === "error" && <p role="alert">Analytics is not available: {auth.error.message}</p>}
      {(status === "loading" || status === "uninitialized") && <p>Signing in to analytics …</p>}
    </main>
  );
}

function Content() {
  const person = useCurrentUser();
  const [dashboard, setDashboard] = useState(DASHBOARD);
  return (
    <>
      <p>
        In Metabase as <strong>{person?.common_name || person?.email}</strong>
      </p>
      <label>
        Dashboard{" "}
        <input type="number" min="1" value={dashboard} onChange={(event) => setDashboard(Number(event.target.value) || 1)} />
      </label>
      <StaticDashboard key={dashboard} dashboardId={dashboard} withTitle />
    </>
  );
}
