import { createRoot } from "react-dom/client";
import { Analytics } from "./analytics.jsx";
import { SignedIn } from "./session.jsx";
import { DEVELOPMENT_API_KEY } from "./settings.js";

const analytics = <Analytics />;
// With an API key there is no backend to sign in to.
createRoot(document.getElementById("root")).render(DEVELOPMENT_API_KEY ? analytics : <SignedIn>{analytics}</SignedIn>);
