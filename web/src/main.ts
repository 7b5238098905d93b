/** Starts the page. */

import { App } from "./page/app";
import { part } from "./page/elements";
import { loadConfig } from "./page/surroundings";

try {
  new App(await loadConfig()).start();
} catch (problem) {
  console.error(problem);
  const error = part("error", HTMLElement);
  error.textContent = "The page cannot read its settings. Please reload it in a moment.";
  error.hidden = false;
}
