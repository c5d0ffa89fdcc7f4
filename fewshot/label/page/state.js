import { AGAIN, bringIn, change, get } from "./api.js";
import { attempt, say } from "./messages.js";

const ADDS = { add_label: "labels", add_class: "classes" };
const LISTS = { ...ADDS, set_geometry: "labels" }; // what is shown at once, and of which list it is

/**
 * The page's one copy of /api/project, and what the page alone knows (chosen class, tool, selection).
 * Events: "project" (anything of the project), "chosen" (class, tool or selection), "map", "live" (a newer one is shown), "panel", "job",
 * "saving" (`saved` may have changed).
 */
class State extends EventTarget {
  project = null;
  classId = "";
  tool = "point";
  width = 8;
  selected = "";
  live = null; // the newest map of what is visible
  applicable = false; // whether it is looked at where the model is applicable
  #waiting = 0; // changes that are on their way
  #sent = new Set(); // new labels and classes, and new places of old ones, that the server has not answered for yet
  #back = null; // takes away what was said of a server that is away

  /** Follow what the server tells. */
  follow() {
    const events = new EventSource("/api/events");
    events.onmessage = (event) => this.hear(JSON.parse(event.data));
    events.onopen = () => {
      this.#back?.();
      this.#back = null;
      attempt(() => this.load()); // also after the server was away
    };
    // The browser itself listens again after a broken connection, but never after an answer that refuses.
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) return;
      this.#back ??= say("The server does not let this page listen. It is asked again.", { error: true });
      setTimeout(() => this.follow(), AGAIN);
    };
  }

  async load() {
    this.adopt(await get("/api/project"));
  }

  hear(event) {
    if (event.type !== "state") this.tell(event.type, event);
    else if (event.revision > this.project.revision) attempt(() => this.load());
  }

  /** Take what the server says, unless something newer was heard. */
  adopt(project) {
    if (this.project && project.revision < this.project.revision) return;
    this.project = project;
    for (const { op, item } of this.#sent) {
      const list = project[LISTS[op]];
      const index = list.findIndex(({ id }) => id === item.id);
      if (index < 0 && op in ADDS) list.push(item);
      if (index >= 0 && op === "set_geometry") list[index] = { ...list[index], ...item };
    }
    if (!this.classOf(this.classId)) this.classId = project.classes[0]?.id ?? "";
    if (!this.label(this.selected)) this.selected = "";
    this.tell("project");
    this.tell("chosen");
  }

  /** Do edits as one step of undo. What is new or moved is shown before the server has answered. */
  async edit(...edits) {
    const shown = edits.filter(({ op }) => op in LISTS).map(({ op, ...item }) => ({ op, item }));
    shown.forEach((own) => this.#sent.add(own));
    this.adopt(this.project);
    const answered = () => shown.forEach((own) => this.#sent.delete(own));
    try {
      const project = await this.#change("/api/edits", { edits });
      answered();
      this.adopt(project);
      return true;
    } catch (error) {
      answered();
      say(error.message, { error: true });
      await attempt(() => this.load());
      return false;
    }
  }

  undo = () => this.step("/api/undo");
  redo = () => this.step("/api/redo");
  step = (path) => attempt(async () => this.adopt(await this.#change(path, {})));

  /** Whether the server has every change on its disk. */
  get saved() {
    return this.#waiting === 0;
  }

  /** Add the labels of a file, whose class a field holds, as one step. Returns how many came. */
  async bringIn(file, field) {
    const before = this.project.labels.length;
    this.adopt(await this.#sending(bringIn("/api/import", file, field)));
    return this.project.labels.length - before;
  }

  #change = (path, body) => this.#sending(change(path, body));

  async #sending(answer) {
    this.#waiting += 1;
    this.tell("saving");
    try {
      return await answer;
    } finally {
      this.#waiting -= 1;
      this.tell("saving");
    }
  }

  /** Choose a class, tool, width or label. */
  choose(chosen) {
    Object.assign(this, chosen);
    this.tell("chosen");
  }

  classOf = (id) => this.project?.classes.find((own) => own.id === id);
  label = (id) => this.project?.labels.find((own) => own.id === id);

  tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  on(type, call) {
    this.addEventListener(type, (event) => call(event.detail));
  }
}

export const state = new State();
