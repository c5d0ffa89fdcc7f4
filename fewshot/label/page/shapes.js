import * as L from "/static/leaflet/leaflet-src.esm.js";
import { middle, vertices } from "./geometry.js";
import { map, toMap } from "./scene.js";
import { state } from "./state.js";

/** Labels as Leaflet's layers, by id, each with what it was drawn from. */
const drawn = new Map();
const group = L.layerGroup().addTo(map);
const HALO = "#ffffff";
const EDGE = "#1a1a1a";

/** Pixels of the screen that a width in the scene takes. */
const onScreen = (width) => Math.max(3, (width || 0) * 2 ** map.getZoom());

/** The layers of a shape: a dark and a light edge around the class's colour, so that it is seen on any ground. */
export function layersOf({ kind, coordinates, width }, colour, { selected = false, clash = false } = {}) {
  const points = vertices({ kind, coordinates }).map(toMap);
  const common = { interactive: false, lineCap: "round", lineJoin: "round" };
  const dash = clash ? { dashArray: "2 5" } : {};
  if (kind === "point" || (kind === "brush" && points.length === 1)) {
    const radius = kind === "point" ? 7 : onScreen(width) / 2;
    return [
      L.circleMarker(points[0], {
        ...common,
        radius: radius + 2,
        weight: 2,
        color: selected ? HALO : EDGE,
        fillColor: selected ? EDGE : HALO,
        fillOpacity: 1,
      }),
      L.circleMarker(points[0], {
        ...common,
        radius,
        stroke: clash,
        color: EDGE,
        weight: 3,
        ...dash,
        fillColor: colour,
        fillOpacity: 1,
      }),
    ];
  }
  if (kind === "polygon") {
    return [
      L.polygon(points, {
        ...common,
        color: selected ? HALO : EDGE,
        weight: selected ? 7 : 5,
        fillColor: colour,
        fillOpacity: 0.25,
      }),
      L.polygon(points, { ...common, color: colour, weight: 3, fill: false, ...dash }),
    ];
  }
  const weight = onScreen(width);
  const opacity = kind === "brush" ? 0.75 : 1;
  return [
    L.polyline(points, { ...common, color: selected ? HALO : EDGE, weight: weight + (selected ? 6 : 3), opacity }),
    L.polyline(points, { ...common, color: colour, weight, opacity, ...dash }),
  ];
}

/** Draw the labels that have changed, and no others. */
function draw() {
  const clashes = new Set(state.project.contradictions);
  const seen = new Set();
  for (const label of state.project.labels) {
    const colour = state.classOf(label.class)?.colour ?? "#888888";
    const shown = { selected: label.id === state.selected, clash: clashes.has(label.id) };
    const wide = label.width && label.kind !== "point" ? map.getZoom() : 0;
    const key = JSON.stringify([label.coordinates, colour, shown, wide]);
    seen.add(label.id);
    if (drawn.get(label.id)?.key === key) continue;
    if (drawn.has(label.id)) group.removeLayer(drawn.get(label.id).layer);
    const layer = L.layerGroup([...layersOf(label, colour, shown), ...(shown.clash ? [warning(label)] : [])]);
    drawn.set(label.id, { key, layer: layer.addTo(group) });
  }
  for (const [id, { layer }] of drawn) {
    if (seen.has(id)) continue;
    group.removeLayer(layer);
    drawn.delete(id);
  }
}

// Not colour alone says that labels contradict each other.
const warning = (label) =>
  L.marker(toMap(middle(label)), {
    interactive: false,
    keyboard: false,
    icon: L.divIcon({ className: "clash", html: "!", iconSize: [16, 16], iconAnchor: [-6, 20] }),
  });

export function showShapes() {
  state.on("chosen", draw);
  map.on("zoomend", draw);
}
