import { post } from "./api.js";
import { button, byId, count, h } from "./dom.js";
import { attempt } from "./messages.js";
import { state } from "./state.js";

const percent = (value) => `${(100 * value).toFixed(0)} %`;

const pair = (term, ...text) => [h("dt", {}, term), h("dd", {}, ...text)];

function accuracy({ value, low, high, labels, how }) {
  const bar = h("span", { className: "interval", "--low": low, "--high": high, "--value": value, "aria-hidden": "true" });
  const text = `${percent(value)}, 95 % interval ${percent(low)} to ${percent(high)}`;
  return pair("Accuracy", text, bar, h("small", {}, `${how ?? "held out in blocks"}, ${count(labels, "label")}`));
}

/** A table as the server sends it: {"columns": [...], "rows": [[...]]}, or a list of records. */
function table(compare) {
  const records = Array.isArray(compare) ? compare : null;
  const columns = records ? Object.keys(records[0] ?? {}) : compare.columns;
  const rows = records ? records.map(Object.values) : compare.rows;
  const cell = (value) => (typeof value === "number" ? value.toFixed(3) : (value ?? ""));
  return h("table", {},
    h("caption", {}, "Methods compared"),
    h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((value) => h("td", {}, String(cell(value))))))));
}

function draw() {
  const { panel, labels, contradictions, classes } = state.project;
  const used = classes.filter(({ id }) => labels.some((own) => own.class === id)).length;
  const warnings = panel.warnings.map((text) => h("li", {}, text));
  byId("figures").replaceChildren(
    h("dl", {},
      ...pair("Labels", `${count(labels.length, "label")} of ${used} of ${classes.length} classes`),
      ...(contradictions.length ? pair("Contradictions", count(contradictions.length, "label")) : []),
      ...(panel.accuracy ? accuracy(panel.accuracy) : []),
      ...(panel.support_loss === null ? [] : pair("Loss on the labels", panel.support_loss.toFixed(3))),
      ...(panel.steps === null ? [] : pair("Steps of adaptation", String(panel.steps)))),
    warnings.length ? h("ul", { className: "warnings" }, ...warnings) : "",
    button("Compare methods", () => attempt(() => post("/api/jobs", { kind: "compare", options: {} }))),
    panel.compare ? table(panel.compare) : "",
  );
}

export function openFigures() {
  state.on("project", draw);
  state.on("panel", ({ type, ...panel }) => {
    state.project.panel = { ...state.project.panel, ...panel };
    draw();
  });
  draw();
}
