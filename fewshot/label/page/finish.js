import { get, post, upload } from "./api.js";
import { button, byId, field, h, select } from "./dom.js";
import { attempt, say } from "./messages.js";
import { state } from "./state.js";

const KINDS = { map: "Map all", sample: "Sample for validation", assess: "Assess", compare: "Compare methods" };
const EACH = 20; // places of a class that are drawn at least
const STATES = { running: "running", done: "done", failed: "failed", cancelled: "stopped" };

const ask = (path, body) =>
  attempt(async () => {
    await post(path, body);
    await load();
  });

async function load() {
  state.project.jobs = await get("/api/jobs");
  draw();
}

function job({ id, kind, state: now, done, total, message, files }) {
  const name = KINDS[kind] ?? kind;
  const progress = h("progress", { max: total || 1, "aria-label": `${name}: progress` });
  if (total) progress.value = done;
  const actions = {
    running: button("Cancel", () => ask(`/api/jobs/${id}/cancel`), { "aria-label": `Cancel: ${name}` }),
    cancelled: button("Resume", () => ask(`/api/jobs/${id}/resume`), { "aria-label": `Resume: ${name}` }),
    failed: button("Try again", () => ask(`/api/jobs/${id}/resume`), { "aria-label": `Try again: ${name}` }),
  };
  return h(
    "li",
    { className: `job ${now}` },
    h(
      "div",
      { className: "row" },
      h("strong", {}, name),
      h("span", { className: "quiet" }, STATES[now] ?? now),
      actions[now] ?? null,
    ),
    now === "running" ? progress : null,
    message ? h("p", { className: now === "failed" ? "warning" : "quiet" }, message) : null,
    picture(name, files),
    files.length ? h("ul", { className: "downloads" }, ...files.map(download)) : null,
  );
}

/** The picture of what a job made, where there is one. */
function picture(name, files) {
  const own = files.find((file) => file.name.endsWith(".png"));
  return own ? h("img", { src: `/files/${own.id}`, alt: `Picture of: ${name}`, loading: "lazy" }) : null;
}

const download = ({ id, name }) => h("li", {}, h("a", { href: `/files/${id}`, download: name }, name));

function draw() {
  byId("jobs").replaceChildren(...state.project.jobs.toReversed().map(job));
}

/** What was heard of one job; said aloud once it has ended. */
function hear({ type, ...heard }) {
  const { jobs } = state.project;
  const index = jobs.findIndex(({ id }) => id === heard.id);
  const before = jobs[index]?.state;
  if (index < 0) jobs.push({ files: [], message: "", ...heard });
  else jobs[index] = { ...jobs[index], ...heard };
  draw();
  const ended = heard.state && heard.state !== before && heard.state !== "running";
  if (ended)
    say(`${KINDS[heard.kind] ?? heard.kind}: ${STATES[heard.state] ?? heard.state}.`, {
      error: heard.state === "failed",
    });
}

/** The command that does what a button does, as its fields are, to read and to copy. */
function commands(fields) {
  const text = h("textarea", { rows: 4, readOnly: true, spellcheck: false, "aria-label": "Command" });
  const kind = select(Object.entries(KINDS), "map", () => {});
  const read = () =>
    attempt(async () => {
      const lines = await get(`/api/command?${new URLSearchParams(await fields())}`);
      text.value = lines[kind.value] ?? "";
    });
  const copy = async () => {
    await read();
    try {
      await navigator.clipboard.writeText(text.value);
      say("The command is copied.");
    } catch {
      text.select();
      say("The command is selected: copy it with Ctrl+C.");
    }
  };
  const all = h(
    "details",
    {},
    h("summary", {}, "The same as a command"),
    field("Of", kind),
    text,
    button("Copy command", copy),
  );
  const shown = () => all.open && read();
  all.ontoggle = shown;
  byId("finish").addEventListener("change", shown);
  state.on("job", (job) => job.state === "done" && shown());
  return all;
}

/** The sample once people have said what they saw there, and the assessment of the map with it. */
class Assessment {
  #sent = Promise.resolve(""); // id under which the server keeps the sample

  constructor() {
    const file = h("input", { type: "file", accept: ".gpkg,.geojson,.csv" });
    file.onchange = () => (this.#sent = this.#send(file.files[0]));
    const start = async () => ask("/api/jobs", { kind: "assess", options: await this.options() });
    this.parts = [field("Labelled sample", file), h("div", { className: "row" }, button(KINDS.assess, start))];
  }

  options = async () => ({ places: await this.#sent });

  async #send(file) {
    if (!file) return "";
    const answer = await attempt(() => upload(`/api/upload?name=${encodeURIComponent(file.name)}`, file));
    return answer?.id ?? "";
  }
}

export function openFinish() {
  const size = h("input", { type: "number", min: 10, max: 100000, value: 100 });
  // Enough for twenty of each class, fewer of which `fewshot sample` does not draw by itself.
  const suffice = () => (size.value = Math.max(size.value, EACH * state.project.classes.length));
  const assessment = new Assessment();
  const drawn = () => ({ n: Number(size.value) });
  const start = (kind, options = () => ({})) =>
    button(
      KINDS[kind],
      () => ask("/api/jobs", { kind, options: options() }),
      kind === "map" ? { className: "main" } : {},
    );
  byId("finish").append(
    h("div", { className: "row" }, start("map")),
    h(
      "div",
      { className: "row" },
      field("Places", size),
      start("sample", drawn),
    ),
    ...assessment.parts,
    h("ul", { id: "jobs" }),
    commands(async () => ({ ...drawn(), ...(await assessment.options()) })),
  );
  state.on("job", hear);
  state.on("project", () => {
    suffice();
    draw();
  });
  suffice();
  draw();
}
