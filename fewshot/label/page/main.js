import { openBackground } from "./background.js";
import { openClasses } from "./classes.js";
import { byId } from "./dom.js";
import { showHandles } from "./editing.js";
import { openFigures } from "./figures.js";
import { openFiles } from "./files.js";
import { openFinish } from "./finish.js";
import { openKeys } from "./keys.js";
import { openLayers } from "./layers.js";
import { openLook } from "./look.js";
import { attempt } from "./messages.js";
import { openScene } from "./scene.js";
import { showShapes } from "./shapes.js";
import { state } from "./state.js";
import { openSuggestions } from "./suggestions.js";
import { openTools } from "./tools.js";

function drawHead() {
  const { name, model, can_undo: undo, can_redo: redo } = state.project;
  document.title = `Label ${name}`;
  byId("name").textContent = name;
  byId("model").textContent = byId("model").title = [model?.name, model?.figure].filter(Boolean).join(", ");
  byId("undo").disabled = !undo;
  byId("redo").disabled = !redo;
}

await attempt(() => state.load());
if (state.project) {
  byId("undo").onclick = state.undo;
  byId("redo").onclick = state.redo;
  state.on("project", drawHead);
  state.on("saving", () => (byId("saved").textContent = state.saved ? "Saved" : "Saving …"));
  for (const open of [
    openScene,
    openBackground,
    showShapes,
    showHandles,
    openTools,
    openClasses,
    openLook,
    openLayers,
    openFigures,
    openSuggestions,
    openFinish,
    openFiles,
    openKeys,
  ]) {
    open();
  }
  state.tell("saving");
  state.tell("project");
  state.tell("chosen");
  state.follow();
  document.body.dataset.ready = "true";
}
