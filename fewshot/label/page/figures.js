import { get, post } from "./api.js";
import { button, byId, count, h, percent } from "./dom.js";
import { attempt, say } from "./messages.js";
import { state } from "./state.js";

const range = (low, high) => `${(100 * low).toFixed(0)} to ${percent(high)}`;

const pair = (term, ...text) => [h("dt", {}, term), h("dd", {}, ...text)];

const losses = ([before, after]) => `${before.toFixed(3)} before adaptation, ${after.toFixed(3)} after`;

function shownAccuracy({ value, low, high, labels, how }) {
  const bar = h("span", {
    className: "interval",
    "--low": low,
    "--high": high,
    "--value": value,
    "aria-hidden": "true",
  });
  const text = `${percent(value)}, 95 % interval ${range(low, high)}`;
  return pair("Accuracy", text, bar, h("small", {}, `${how ?? "held out in blocks"}, ${count(labels, "label")}`));
}

const ranged = ({ value, low, high }) => [percent(value), h("small", {}, range(low, high))];

/** Methods compared by cross-validation, the best first. */
function table({ methods, chosen, reason, notes }) {
  const row = ({ name, title, model, accuracy: right, macro_f1: f1 }) =>
    h(
      "tr",
      name === chosen ? { className: "chosen" } : {},
      h("th", { scope: "row", title }, [name, model].filter(Boolean).join(" of ")),
      h("td", {}, ...ranged(right)),
      h("td", {}, ...ranged(f1)),
    );
  return h(
    "div",
    {},
    h(
      "table",
      {},
      h("caption", {}, "Methods, on labels held out in turn"),
      h("thead", {}, h("tr", {}, ...["Method", "Accuracy", "Macro F1"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...methods.map(row)),
    ),
    ...[...notes, reason].map((text) => h("p", { className: "quiet" }, text)),
  );
}

const compare = () =>
  attempt(async () => {
    await post("/api/jobs", { kind: "compare", options: {} });
    say("Methods are compared, which takes minutes. The table comes here; “Finish” can cancel it.");
  });

function draw() {
  const live = state.live?.method;
  const { panel, labels, contradictions, classes } = state.project;
  const used = classes.filter(({ id }) => labels.some((own) => own.class === id)).length;
  const warnings = panel.warnings.map((text) => h("li", {}, text));
  byId("figures").replaceChildren(
    h(
      "dl",
      {},
      ...pair("Labels", `${count(labels.length, "label")} of ${used} of ${classes.length} classes`),
      ...(contradictions.length ? pair("Contradictions", count(contradictions.length, "label")) : []),
      ...(panel.accuracy ? shownAccuracy(panel.accuracy) : []),
      ...(panel.support_loss === null ? [] : pair("Loss", losses(panel.support_loss))),
      ...(live
        ? pair("Live view", [live, panel.steps === null ? "" : count(panel.steps, "step")].filter(Boolean).join(", "))
        : []),
    ),
    warnings.length ? h("ul", { className: "warnings" }, ...warnings) : "",
    button("Compare methods", compare),
    panel.compare ? table(panel.compare) : "",
  );
}

const load = () =>
  attempt(async () => {
    state.project.panel = await get("/api/panel");
    draw();
  });

export function openFigures() {
  state.on("project", draw);
  state.on("live", draw);
  state.on("panel", load);
  state.on("job", (job) => job.state === "done" && load()); // it may have compared methods
  draw();
}
