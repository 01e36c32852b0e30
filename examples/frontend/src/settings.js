// What the build is told; .env.example lists it. All of it ends up in the browser: nothing here may be secret.
//
// Each variable is named in full: `import.meta.env` by itself would put all of them, the API key too, into the build.

/** Origin of the backend. */
export const BACKEND = import.meta.env.VITE_BACKEND_URL || "http://localhost:8000";

/** Metabase, as browsers reach it. */
export const METABASE = import.meta.env.VITE_METABASE_URL || "http://localhost:3000";

/** The first dashboard to show. */
export const DASHBOARD = Number(import.meta.env.VITE_METABASE_DASHBOARD || 1);

/**
 * An API key of a Metabase for development, instead of sign-in. Only `npm run dev` has it: a build for production drops it,
 * and the SDK uses it on localhost alone. Everybody with the key is the key's group: no row-level security.
 */
export const DEVELOPMENT_API_KEY = import.meta.env.DEV ? import.meta.env.VITE_METABASE_API_KEY || "" : "";
