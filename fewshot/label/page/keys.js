import { crosshair } from "./crosshair.js";
import { byId, button, h } from "./dom.js";
import { deleteSelected, nudge } from "./editing.js";
import { whisper } from "./messages.js";
import { map } from "./scene.js";
import { state } from "./state.js";
import { next } from "./suggestions.js";
import { chooseTool, drop, finish, takeBack, TOOLS, use } from "./tools.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const HELP = [
  ["1 to 9", "choose a class"],
  ["Arrow keys", "move the crosshair; with Shift by a pixel; with Alt move the selected label"],
  ["Space", "label the place under the crosshair, add a point to a shape, or select"],
  ["Enter", "finish a line or polygon; label a place"],
  ["Backspace", "take back the last point of a shape"],
  ["Escape", "drop what is being drawn, or the selection"],
  ["Delete", "delete the selected label"],
  ["P L G B V", "point, line, polygon, brush, select"],
  ["N", "go to the next suggested place"],
  ["+ and −", "zoom in and out"],
  ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"],
];

/** On the map. Returns whether the key meant something. */
function onMap(event) {
  const arrow = ARROWS[event.key];
  if (arrow && event.altKey) nudge(...arrow);
  else if (arrow) crosshair.move(...arrow, event.shiftKey);
  else if (event.key === " ") label();
  else if (event.key === "Enter") finish() || label();
  else if (event.key === "+" || event.key === "=") map.zoomIn();
  else if (event.key === "-") map.zoomOut();
  else return false;
  return true;
}

function label() {
  crosshair.show(crosshair.place);
  use(crosshair.place);
  const done =
    state.tool === "select"
      ? `Selected: ${state.label(state.selected)?.kind ?? "nothing"}`
      : state.classOf(state.classId)?.name;
  whisper(`${done}, ${byId("place").textContent}`);
}

function chooseClass({ id, name }) {
  state.choose({ classId: id });
  whisper(`Class ${name}`);
}

/** Anywhere but in a field. */
function anywhere(event) {
  const key = event.key.toLowerCase();
  const own = state.project.classes.find((each) => each.key === key);
  const tool = Object.keys(TOOLS).find((each) => TOOLS[each].key === key);
  if (own) chooseClass(own);
  else if (tool) chooseTool(tool);
  else if (key === "n") next();
  else if (key === "?") openHelp();
  else if (key === "delete") deleteSelected();
  else if (key === "backspace") return takeBack();
  else if (key === "escape") return drop() || (state.choose({ selected: "" }), crosshair.hide(), true);
  else return false;
  return true;
}

function history(event) {
  const key = event.key.toLowerCase();
  if (key === "y" || (key === "z" && event.shiftKey)) state.redo();
  else if (key === "z") state.undo();
  else return false;
  return true;
}

const WRITES = "input:not([type=radio]):not([type=checkbox]):not([type=range]), textarea, select";

function meant(event) {
  if (document.querySelector("dialog[open]") || event.target.closest(WRITES)) return false;
  if (event.ctrlKey || event.metaKey) return history(event);
  if (event.target === map.getContainer() && onMap(event)) return true;
  return !event.altKey && anywhere(event);
}

function openHelp() {
  const dialog = byId("help-dialog");
  dialog.replaceChildren(
    h("h2", { id: "help-title" }, "Keys"),
    h(
      "dl",
      { className: "keys" },
      ...HELP.flatMap(([keys, does]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, does)]),
    ),
    h(
      "p",
      { className: "quiet" },
      "Press Tab until the map has the focus, or use “Skip to the map”. The map is drawn with Leaflet.",
    ),
    h(
      "div",
      { className: "row end" },
      button("Close", () => dialog.close(), { autofocus: true }),
    ),
  );
  dialog.showModal();
}

export function openKeys() {
  byId("help").onclick = openHelp;
  document.addEventListener("keydown", (event) => meant(event) && event.preventDefault());
}
