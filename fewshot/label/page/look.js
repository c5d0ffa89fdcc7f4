import { byId, button, field, h, select } from "./dom.js";
import { lookAt } from "./scene.js";
import { state } from "./state.js";

const CHANNELS = ["Red", "Green", "Blue"];
const look = { bands: [], stretch: "", gamma: 1 };

const stretches = () => state.project.scene.stretches ?? {};
const ends = () => stretches()[look.stretch] ?? state.project.scene.stretch;

function show() {
  const own = look.bands.map((band) => ends()[band - 1]);
  const part = (end) => own.map((both) => both[end]).join(",");
  lookAt(new URLSearchParams({ bands: look.bands.join(","), low: part(0), high: part(1), gamma: look.gamma }));
}

const set = (changes) => {
  Object.assign(look, changes);
  draw();
  show();
};

function draw() {
  const { bands, presets } = state.project.scene;
  const names = bands.map(({ index, name, wavelength }) => [
    index,
    `${name || index}${wavelength ? ` (${Math.round(wavelength)} nm)` : ""}`,
  ]);
  const grey = look.bands.length === 1;
  const choose = (channel) => (band) => set({ bands: look.bands.with(channel, Number(band)) });
  const gamma = h("input", { type: "range", min: 0.3, max: 3, step: 0.1, value: look.gamma });
  gamma.oninput = () => {
    look.gamma = Number(gamma.value);
    show();
  };
  const cuts = Object.keys(stretches()).map((cut) => [
    cut,
    cut === "0" ? "All values" : `Without ${cut} % at each end`,
  ]);
  const preset = ([name, own]) =>
    button(`${name === "true" ? "True" : "False"} colour`, () => set({ bands: own }), {
      "aria-pressed": String(own.join() === look.bands.join()),
    });
  byId("look").replaceChildren(
    h(
      "div",
      { className: "row" },
      ...Object.entries(presets)
        .filter(([, own]) => own.length === 3)
        .map(preset),
      button("One band", () => set({ bands: [look.bands[0]] }), { "aria-pressed": String(grey) }),
    ),
    ...look.bands.map((band, channel) =>
      field(grey ? "Band" : CHANNELS[channel], select(names, band, choose(channel))),
    ),
    cuts.length
      ? field(
          "Stretch",
          select(cuts, look.stretch, (stretch) => set({ stretch })),
        )
      : "",
    field("Gamma", gamma),
  );
}

export function openLook() {
  look.bands = Object.values(state.project.scene.presets)[0];
  look.stretch = Object.keys(stretches()).includes("2") ? "2" : "";
  draw();
}
