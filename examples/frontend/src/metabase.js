// How Metabase's SDK signs in.

import { defineMetabaseAuthConfig } from "@metabase/embedding-sdk-react";
import { fetchToken } from "./backend.js";
import { sessionEnded } from "./session.jsx";
import { BACKEND, DEVELOPMENT_API_KEY, METABASE } from "./settings.js";

/** The SDK calls it at its start, and before a request once the last token has expired. */
async function fetchRequestToken() {
  try {
    return await fetchToken();
  } catch (failure) {
    if (failure.code === "NOT_SIGNED_IN") sessionEnded();
    throw failure;
  }
}

const withJwt = {
  metabaseInstanceUrl: METABASE,
  // Metabase would choose SAML if it has both.
  preferredAuthMethod: "jwt",
  // From 58 on: no question to Metabase where tokens come from. SDKs before do not know it, and ask.
  jwtProviderUri: `${BACKEND}/sso/metabase`,
  // Without it the SDK fetches `jwtProviderUri?response=json` by itself, with cookies and no headers of your own.
  fetchRequestToken,
};

/** One object for the whole life of the page: a new one in every render would start the SDK again and again. */
export const authConfig = defineMetabaseAuthConfig(
  DEVELOPMENT_API_KEY ? { metabaseInstanceUrl: METABASE, apiKey: DEVELOPMENT_API_KEY } : withJwt,
);
