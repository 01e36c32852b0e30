// What the environment says; ../README.md lists every variable.

const isOrigin = (text) => /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;

export function settingsFrom(env) {
  const publicUrl = env.PUBLIC_URL || "http://localhost:8000";
  const [scheme, address] = (env.METABASE_TOKEN_SERVICE_ADDRESS || "http://127.0.0.1:50051").split("://");
  const settings = {
    listen: new URL(`http://${env.LISTEN || "127.0.0.1:8000"}`),
    // Whose pages may read answers: the app's, and this backend's own.
    origins: [...(env.APP_ORIGINS || "http://localhost:3001").split(","), publicUrl],
    secure: publicUrl.startsWith("https://"),
    sameSite: env.COOKIE_SAMESITE || "Lax",
    peopleFile: env.PEOPLE_FILE || "../people.json",
    instance: env.METABASE_INSTANCE || "",
    address,
    ca: env.METABASE_TOKEN_SERVICE_TLS_CA,
    certificate: env.METABASE_TOKEN_SERVICE_TLS_CERTIFICATE,
    key: env.METABASE_TOKEN_SERVICE_TLS_KEY,
  };
  const wrong = settings.origins.find((origin) => !isOrigin(origin));
  if (wrong !== undefined)
    throw new Error(`APP_ORIGINS, PUBLIC_URL: "${wrong}" is not an origin such as https://app.example.com`);
  if (!(settings.secure ? ["Lax", "None"] : ["Lax"]).includes(settings.sameSite))
    throw new Error("COOKIE_SAMESITE must be Lax or, with an https PUBLIC_URL, None: browsers drop the cookie otherwise");
  if ((scheme === "https") !== Boolean(settings.ca))
    throw new Error("METABASE_TOKEN_SERVICE_TLS_CA goes together with an https METABASE_TOKEN_SERVICE_ADDRESS");
  if (Boolean(settings.certificate) !== Boolean(settings.key))
    throw new Error("METABASE_TOKEN_SERVICE_TLS_CERTIFICATE goes together with METABASE_TOKEN_SERVICE_TLS_KEY");
  return settings;
}
