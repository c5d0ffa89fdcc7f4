import * as L from "/static/leaflet/leaflet-src.esm.js";
import { post } from "./api.js";
import { crosshair } from "./crosshair.js";
import { button, byId, h } from "./dom.js";
import { attempt, say } from "./messages.js";
import { map, toMap } from "./scene.js";
import { state } from "./state.js";
import { use } from "./tools.js";

const MOST = 10;
const marks = L.layerGroup().addTo(map);
export let places = [];
let at = -1;

async function suggest() {
  const answer = await attempt(() => post("/api/suggest", { n: MOST }));
  if (!answer) return;
  places = answer.places;
  at = -1;
  draw();
  say(
    places.length
      ? `${places.length} places to label. N goes to the next.`
      : "No place stands out. Label a few of each class first.",
  );
}

/** Go to the next place; ask for some first if there are none. */
export async function next() {
  if (!places.length) await suggest();
  if (places.length) visit((at + 1) % places.length);
}

function visit(index) {
  at = index;
  const { column, row, reason } = places[index];
  crosshair.show([column, row]);
  map.getContainer().focus({ preventScroll: true });
  say(`${index + 1} of ${places.length}: ${reason}`);
  draw();
}

function draw() {
  marks.clearLayers();
  places.forEach(({ column, row, reason }, index) => {
    const icon = L.divIcon({
      className: index === at ? "suggestion now" : "suggestion",
      html: String(index + 1),
      iconSize: [24, 24],
    });
    const mark = L.marker(toMap([column, row]), { icon, keyboard: false, title: reason }).addTo(marks);
    mark.on("click", () => state.tool === "brush" || use([column, row])); // the very place, wherever it was hit
  });
  const item = ({ reason }, index) => {
    const go = button(reason, () => visit(index));
    if (index === at) go.setAttribute("aria-current", "true");
    return h("li", {}, go);
  };
  byId("places").replaceChildren(...places.map(item));
}

export function openSuggestions() {
  byId("suggestions").append(
    h("p", { className: "quiet" }, "Places where another label teaches the map most."),
    h(
      "div",
      { className: "row" },
      button("Suggest places", suggest),
      button("Next place", next, { title: "Next place (N)", "aria-keyshortcuts": "N" }),
    ),
    h("ol", { id: "places" }),
  );
}
