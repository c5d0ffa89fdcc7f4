import { byId } from "./dom.js";
import { map, pixelsAcross, toMap, toPlace } from "./scene.js";
import { state } from "./state.js";

/** The place that the keyboard points at; null until it is used. */
let place = null;
const STEP = 24; // pixels of the screen
const EDGE = 48; // from which the map moves along

export const crosshair = {
  get place() {
    return place ?? middle();
  },

  /** Put it at a place and bring that into view. */
  show(where) {
    place = keptIn(where);
    map.panInside(toMap(place), { padding: [EDGE, EDGE], animate: false });
    draw();
  },

  /** Move it by steps; a fine step is a pixel of the scene, or of the screen where those are smaller. */
  move(columns, rows, fine) {
    const step = fine ? Math.max(1, pixelsAcross(1)) : pixelsAcross(STEP);
    const [column, row] = this.place;
    this.show([column + columns * step, row + rows * step]);
  },

  hide() {
    place = null;
    draw();
  },
};

// The middle of a pixel, so that what is labelled is plain.
function middle() {
  return keptIn(toPlace(map.getCenter())).map((own) => Math.floor(own) + 0.5);
}

function keptIn([column, row]) {
  const { width, height } = state.project.scene;
  return [Math.min(width - 0.5, Math.max(0.5, column)), Math.min(height - 0.5, Math.max(0.5, row))];
}

function draw() {
  const mark = byId("crosshair");
  mark.hidden = !place;
  if (!place) return;
  const { x, y } = map.latLngToContainerPoint(toMap(place));
  mark.style.transform = `translate(${x}px, ${y}px)`;
  tell(place);
}

/** Say which pixel is pointed at. */
function tell([column, row]) {
  byId("place").textContent = `column ${Math.floor(column)}, row ${Math.floor(row)}`;
}

map.on("move zoom resize viewreset", draw);
map.on("mousemove", ({ latlng }) => tell(toPlace(latlng)));
map.getContainer().addEventListener("pointerdown", (event) => event.pointerType === "mouse" && crosshair.hide());
