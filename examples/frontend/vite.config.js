import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const page = (name) => fileURLToPath(new URL(name, import.meta.url));

export default defineConfig({
  plugins: [react()],
  // The origin that the backend's APP_ORIGINS and Metabase's embedding settings name: no other port will do.
  server: { host: "localhost", port: 3001, strictPort: true },
  preview: { host: "localhost", port: 3001, strictPort: true },
  build: { rolldownOptions: { input: [page("index.html"), page("interactive.html")] } },
});
