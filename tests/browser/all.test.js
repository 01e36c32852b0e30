// One file for the test runner, so that all share one stage: builds, browser, and what is behind the page.

import "./sdk.js";
import "./interactive.js";
import "./newest-sdk.js";
