import * as L from "/static/leaflet/leaflet-src.esm.js";
import { button, byId, field, h, newId } from "./dom.js";
import { coordinatesOf, FEWEST, nearest } from "./geometry.js";
import { say, whisper } from "./messages.js";
import { map, pixelsAcross, toPlace } from "./scene.js";
import { layersOf } from "./shapes.js";
import { state } from "./state.js";

export const TOOLS = {
  point: { name: "Point", key: "p" },
  line: { name: "Line", key: "l" },
  polygon: { name: "Polygon", key: "g" },
  brush: { name: "Brush", key: "b" },
  select: { name: "Select", key: "v" },
};
const REACH = 12; // pixels of the screen from which a label is still picked
const sketch = L.layerGroup().addTo(map);
let points = []; // of the line, polygon or stroke that is being drawn

const drawing = () => state.tool === "line" || state.tool === "polygon";

/** Draw what is being drawn, up to the pointer. */
function redraw(pointer = null) {
  sketch.clearLayers();
  const shown = pointer ? [...points, pointer] : points;
  if (!shown.length) return;
  const kind = state.tool === "polygon" && shown.length < 3 ? "line" : state.tool;
  const width = kind === "brush" ? state.width : 0;
  const colour = state.classOf(state.classId)?.colour ?? "#888888";
  for (const layer of layersOf({ kind, coordinates: coordinatesOf(kind, shown), width }, colour)) layer.addTo(sketch);
}

/** Keep a label of the chosen class. */
function add(kind, coordinates) {
  if (!state.classId) {
    say("Add a class first: then a click labels a place with it.", { error: true });
    return;
  }
  const width = kind === "brush" ? { width: state.width } : {};
  state.edit({ op: "add_label", id: newId(), class: state.classId, kind, coordinates, ...width });
}

function withinScene([column, row]) {
  const { width, height } = state.project.scene;
  return column >= 0 && row >= 0 && column < width && row < height;
}

/** What a click, or the space bar, does at a place. */
export function use(place) {
  if (state.tool === "select") {
    state.choose({ selected: nearest(place, state.project.labels, pixelsAcross(REACH))?.id ?? "" });
  } else if (!withinScene(place)) {
    say("That place is outside the scene.");
  } else if (state.tool === "point") {
    add("point", place);
  } else if (state.tool === "brush") {
    add("brush", [place]);
  } else {
    const last = points.at(-1);
    const again = last && Math.hypot(last[0] - place[0], last[1] - place[1]) <= pixelsAcross(4);
    if (!again) points.push(place);
    redraw();
  }
}

/** End the line or polygon that is being drawn and keep it. Returns whether there was one. */
export function finish() {
  if (!points.length) return false;
  const done = points;
  if (done.length < FEWEST[state.tool]) {
    say(`A ${state.tool} has ${FEWEST[state.tool]} points or more.`);
    return true;
  }
  drop();
  add(state.tool, coordinatesOf(state.tool, done));
  return true;
}

/** Take back the last point. Returns whether there was one. */
export function takeBack() {
  const had = points.length > 0;
  points.pop();
  redraw();
  return had;
}

/** Forget what is being drawn. Returns whether there was anything. */
export function drop() {
  const had = points.length > 0;
  points = [];
  sketch.clearLayers();
  return had;
}

function followStrokes(container) {
  const at = (event) => toPlace(map.mouseEventToLatLng(event));
  const paints = (event) =>
    state.tool === "brush" &&
    event.isPrimary &&
    event.button === 0 &&
    event.target.closest("#map") &&
    !event.target.closest("a");
  container.addEventListener("pointerdown", (event) => {
    if (state.tool === "brush" && !event.isPrimary) drop(); // a second finger: the map is being pinched
    if (!paints(event)) return;
    container.setPointerCapture(event.pointerId);
    points = [at(event)];
    redraw();
  });
  container.addEventListener("pointermove", (event) => {
    if (state.tool !== "brush" || !points.length) return;
    points.push(at(event));
    redraw();
  });
  container.addEventListener("pointercancel", drop);
  container.addEventListener("pointerup", () => {
    if (state.tool !== "brush" || !points.length) return;
    const stroke = points.filter(withinScene).map(([x, y]) => L.point(x, y));
    drop();
    const kept = L.LineUtil.simplify(stroke, Math.max(0.25, state.width / 16)).map(({ x, y }) => [x, y]);
    if (kept.length) add("brush", kept);
  });
}

function toolbar() {
  const width = h("input", { type: "number", min: 1, max: 200, step: 1, value: state.width });
  width.onchange = () => state.choose({ width: Math.min(200, Math.max(1, Number(width.value) || 1)) });
  const widthField = field("Width", width, h("span", {}, "px"));
  const choices = Object.entries(TOOLS).map(([tool, { name, key }]) => {
    const input = h("input", { type: "radio", name: "tool", value: tool, onchange: () => chooseTool(tool) });
    return h("label", { title: `${name} (${key.toUpperCase()})` }, input, h("span", {}, name));
  });
  const done = button("Done", finish, { title: "Finish the shape (Enter)" });
  byId("toolbar").append(...choices, widthField, done);
  state.on("chosen", () => {
    for (const choice of choices) choice.firstChild.checked = choice.firstChild.value === state.tool;
    widthField.hidden = state.tool !== "brush";
    done.hidden = !drawing();
    width.value = state.width;
  });
}

/** Take another tool; what is half drawn is dropped. */
export function chooseTool(tool) {
  drop();
  state.choose({ tool, selected: "" });
  whisper(`Tool: ${TOOLS[tool].name}`);
}

export function openTools() {
  toolbar();
  followStrokes(map.getContainer());
  map.on("click", ({ latlng }) => state.tool === "brush" || use(toPlace(latlng)));
  map.on("dblclick", () => (drawing() ? finish() : state.tool === "select" && map.zoomIn()));
  map.on("mousemove", ({ latlng }) => drawing() && points.length && redraw(toPlace(latlng)));
  state.on("chosen", () => {
    map.getContainer().dataset.tool = state.tool;
    map.dragging[state.tool === "brush" ? "disable" : "enable"]();
    redraw();
  });
}
