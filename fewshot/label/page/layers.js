import * as L from "/static/leaflet/leaflet-src.esm.js";
import { byId, field, h, percent, select } from "./dom.js";
import { looked, map, sceneOpacity } from "./scene.js";
import { state } from "./state.js";

const NAMES = { none: "Scene alone", map: "Map", confidence: "Confidence", applicable: "Applicability" };
const LEGENDS = {
  confidence: () => "Confidence: light is sure, dark is not.",
  applicable: ({ holds }) =>
    `White is like the labels, grey less so, orange unlike all of them: there the map does not hold.${
      typeof holds === "number" ? ` It holds on ${percent(holds)} of what you see.` : ""
    }`,
};
const view = { right: "map", left: "none", opacity: 0.6, scene: 1, swipe: false };

/** One side of the swipe: a pane with one picture, which stays until its successor has come. */
class Side {
  #picture = null;
  #next = null;
  #source = "";

  constructor(name) {
    this.name = name;
    this.pane = map.getPane(name);
  }

  show(live) {
    const layer = this.name === "left" && !view.swipe ? "none" : view[this.name];
    if (!live || layer === "none") return this.#replace(null, "");
    if (!live.layers.includes(layer)) return live.stage === "coarse" ? null : this.#replace(null, "");
    const source = `/live/${live.generation}/${live.stage}/${layer}.png`;
    if (source === this.#source) {
      for (const own of [this.#picture, this.#next]) own?.setOpacity(view.opacity);
      return;
    }
    const [west, north, east, south] = live.window;
    const next = L.imageOverlay(
      source,
      [
        [north, west],
        [south, east],
      ],
      {
        pane: this.name,
        opacity: view.opacity,
        className: "live",
        alt: `${NAMES[layer]}, made of the labels so far`,
      },
    );
    // One that was waited for gives way at once, so that none comes over a newer one.
    this.#next?.remove();
    this.#next = next;
    this.#source = source;
    next.once("load", () => next === this.#next && this.#replace(next, source));
    next.once("error", () => next === this.#next && this.#replace(null, ""));
    next.addTo(map);
  }

  #replace(next, source) {
    for (const own of [this.#picture, this.#next]) if (own !== next) own?.remove();
    this.#picture = next;
    this.#next = null;
    this.#source = source;
  }
}

const sides = ["left", "right"].map((name) => new Side(name));

/** Cut the two sides where the divider is; without it the right one is everywhere. */
function cut() {
  const { x, y } = map.getSize();
  const at = view.swipe ? (x * byId("swipe-at").value) / 100 : 0;
  const corner = (left, top) => {
    const point = map.containerPointToLayerPoint([left, top]);
    return `${point.x}px ${point.y}px`;
  };
  const box = (from, to) => `polygon(${corner(from, 0)}, ${corner(to, 0)}, ${corner(to, y)}, ${corner(from, y)})`;
  sides[0].pane.style.clipPath = box(0, at);
  sides[1].pane.style.clipPath = box(at, x);
  byId("stage").style.setProperty("--at", `${at}px`);
}

/** What the grey and the colours of the pictures mean, and whether the server is to make the one that takes long. */
function explain() {
  const seen = view.swipe ? [view.left, view.right] : [view.right];
  const legends = [...new Set(seen)].map((own) => LEGENDS[own]?.(state.live ?? {}) ?? "");
  byId("legend").textContent = legends.filter(Boolean).join(" ");
  const applicable = seen.includes("applicable");
  if (applicable === state.applicable) return;
  state.applicable = applicable;
  if (applicable && state.live) byId("working").textContent = "Measuring where the model applies …";
  looked();
}

function show() {
  explain();
  byId("divider").hidden = !view.swipe;
  sceneOpacity(view.scene);
  for (const side of sides) side.show(state.live);
  cut();
}

const WORDS = { coarse: "A first look. The finer map follows.", fine: "" };

function hear(event) {
  byId("working").textContent = event.stage === "failed" ? event.message : event.message || WORDS[event.stage] || "";
  if (event.generation < (state.live?.generation ?? 0)) return;
  state.live = event.stage === "failed" ? null : event; // what was mapped with other labels is shown no longer
  state.tell("live");
  byId("stage").dataset.live = `${event.generation}/${event.stage}`;
  show();
}

/** Say that the first map is on its way, which takes seconds while the model is opened. */
function announce() {
  const { model, labels } = state.project;
  const labelled = new Set(labels.map((own) => own.class)).size > 1;
  if (model && labelled && !state.live && !byId("working").textContent) byId("working").textContent = "Mapping …";
}

const slider = (value, onchange) => {
  const input = h("input", { type: "range", min: 0, max: 100, value: value * 100 });
  input.oninput = () => onchange(input.value / 100);
  return input;
};

const set = (changes) => {
  Object.assign(view, changes);
  show();
};

export function openLayers() {
  const choices = Object.entries(NAMES);
  const left = field(
    "Left of it",
    select(choices, view.left, (own) => set({ left: own })),
  );
  left.hidden = true;
  const swipe = h("input", { type: "checkbox" });
  swipe.onchange = () => {
    left.hidden = !swipe.checked;
    set({ swipe: swipe.checked });
  };
  byId("layers").append(
    field(
      "Show",
      select(choices, view.right, (own) => set({ right: own }), { id: "shown-layer" }),
    ),
    field(
      "Opacity",
      slider(view.opacity, (own) => set({ opacity: own })),
    ),
    field(
      "Opacity of the scene",
      slider(view.scene, (own) => set({ scene: own })),
    ),
    h("label", { className: "check" }, swipe, h("span", {}, "Swipe between two sides")),
    left,
    h("p", { id: "legend", className: "quiet" }),
  );
  byId("swipe-at").oninput = cut;
  map.on("move zoom viewreset resize", cut);
  state.on("map", hear);
  state.on("project", announce);
  if (!state.project.model)
    byId("layers").prepend(h("p", { className: "quiet" }, "Nothing maps yet: start with --model or --method."));
  if (state.project.live) hear(state.project.live);
  else show();
}
