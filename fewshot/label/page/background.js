import { byId, h } from "./dom.js";
import { map, toMap, toPlace } from "./scene.js";
import { state } from "./state.js";

// Tiles of the world, bent to the scene: each is laid by where three of its corners lie there.
const SIDE = 256;
const DEEPEST = 19;
const MOST = 100; // tiles at once
const pane = map.getPane("background");
const shown = new Map(); // images by their addresses
let on = false;

/** What a place becomes by a polynomial of the server's. */
function by({ centre, spread, powers, factors }, place) {
  const [a, b] = place.map((own, axis) => (own - centre[axis]) / spread[axis]);
  return factors.map((own) =>
    own.reduce((sum, factor, index) => sum + factor * a ** powers[index][0] * b ** powers[index][1], 0),
  );
}

/** The tiles that cover what is visible: their zoom, and first and last column and row. */
function wanted({ to_world: toWorld }) {
  const { x, y } = map.getSize();
  const at = (left, top) => by(toWorld, toPlace(map.containerPointToLatLng([left, top])));
  const corners = [at(0, 0), at(x, 0), at(0, y), at(x, y)];
  const [here, beside] = [at(x / 2, y / 2), at(x / 2 + 1, y / 2)];
  const pixel = Math.hypot(beside[0] - here[0], beside[1] - here[1]);
  const zoom = Math.min(DEEPEST, Math.max(0, Math.round(-Math.log2(SIDE * pixel))));
  const range = [0, 1].map((axis) => {
    const ends = corners.map((own) => Math.min(2 ** zoom - 1, Math.max(0, Math.floor(own[axis] * 2 ** zoom))));
    return [Math.min(...ends), Math.max(...ends)];
  });
  return { zoom, columns: range[0], rows: range[1] };
}

function lay(image, { to_scene: toScene }, zoom, column, row) {
  const at = (right, down) =>
    map.latLngToLayerPoint(toMap(by(toScene, [(column + right) / 2 ** zoom, (row + down) / 2 ** zoom])));
  const [origin, across, below] = [at(0, 0), at(1, 0), at(0, 1)];
  const axis = (end) => `${(end.x - origin.x) / SIDE}, ${(end.y - origin.y) / SIDE}`;
  image.style.transform = `matrix(${axis(across)}, ${axis(below)}, ${origin.x}, ${origin.y})`;
}

function draw() {
  pane.hidden = !on;
  if (!on) return;
  const { background } = state.project;
  const { zoom, columns, rows } = wanted(background);
  const seen = new Set();
  if ((columns[1] - columns[0] + 1) * (rows[1] - rows[0] + 1) <= MOST) {
    for (let column = columns[0]; column <= columns[1]; column += 1) {
      for (let row = rows[0]; row <= rows[1]; row += 1) {
        const url = background.url.replace("{z}", zoom).replace("{x}", column).replace("{y}", row);
        if (!shown.has(url)) {
          shown.set(url, h("img", { src: url, alt: "", className: "ground", referrerPolicy: "no-referrer" }));
          pane.append(shown.get(url));
        }
        lay(shown.get(url), background, zoom, column, row);
        seen.add(url);
      }
    }
  }
  for (const [url, image] of shown) {
    if (seen.has(url)) continue;
    image.remove();
    shown.delete(url);
  }
}

export function openBackground() {
  const { background } = state.project;
  byId("background").hidden = !background;
  if (!background) return;
  const box = h("input", { type: "checkbox" });
  box.onchange = () => {
    on = box.checked;
    draw();
  };
  byId("background").append(
    h("label", { className: "check" }, box, h("span", {}, `Background of ${new URL(background.url).host}`)),
  );
  map.on("zoomstart", () => (pane.hidden = true));
  map.on("moveend zoomend resize viewreset", draw);
}
