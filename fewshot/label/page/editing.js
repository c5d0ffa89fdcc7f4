import * as L from "/static/leaflet/leaflet-src.esm.js";
import { coordinatesOf, FEWEST, middle, moved, sides, vertices } from "./geometry.js";
import { map, toMap, toPlace } from "./scene.js";
import { state } from "./state.js";

/** The handles of the selected label: its points, the middles of its sides, and one that moves all of it. */
const handles = L.layerGroup().addTo(map);
let dragged = false; // whether one of them is held: it stays until it is dropped

const save = (label, coordinates) => state.edit({ op: "set_geometry", id: label.id, coordinates });

function handle(at, className, title, ondrop) {
  const size = className === "side" ? 12 : 18;
  const icon = L.divIcon({ className: `handle ${className}`, iconSize: [size, size] });
  const own = L.marker(toMap(at), { draggable: true, keyboard: false, icon, title, alt: title });
  own.on("dragstart", () => (dragged = true));
  own.on("dragend", () => {
    dragged = false;
    ondrop(toPlace(own.getLatLng()));
  });
  return own.addTo(handles);
}

function draw() {
  if (dragged) return;
  handles.clearLayers();
  const label = state.label(state.selected);
  if (!label || state.tool !== "select") return;
  const points = vertices(label);
  const through = (changed) => save(label, coordinatesOf(label.kind, changed, label.coordinates));
  if (label.kind !== "brush") {
    points.forEach((at, index) => {
      const own = handle(at, "corner", "Drag to move; right click to take away", (to) =>
        through(points.with(index, to)),
      );
      own.on("contextmenu", () => points.length > FEWEST[label.kind] && through(points.toSpliced(index, 1)));
    });
    for (const { at, index } of sides(label)) {
      handle(at, "side", "Drag to add a point", (to) => through(points.toSpliced(index, 0, to)));
    }
  }
  if (label.kind === "point") return;
  const from = middle(label);
  handle(from, "whole", "Drag to move all of it", (to) =>
    save(label, moved(label.coordinates, [to[0] - from[0], to[1] - from[1]])),
  );
}

/** Move the selected label by pixels. */
export function nudge(columns, rows) {
  const label = state.label(state.selected);
  if (label) save(label, moved(label.coordinates, [columns, rows]));
}

/** Delete the selected label. */
export function deleteSelected() {
  if (state.selected) state.edit({ op: "delete_labels", ids: [state.selected] });
}

export const showHandles = () => state.on("chosen", draw);
