import { change, get } from "./api.js";
import { attempt, say } from "./messages.js";

const ADDS = { add_label: "labels", add_class: "classes" };

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
  #waiting = 0; // changes that are on their way
  #sent = new Set(); // new labels and classes that the server has not answered for yet

  /** Follow what the server tells. */
  follow() {
    const events = new EventSource("/api/events");
    events.onmessage = (event) => this.hear(JSON.parse(event.data));
    events.onopen = () => attempt(() => this.load()); // also after the server was away
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
    for (const { list, item } of this.#sent)
      if (!project[list].some(({ id }) => id === item.id)) project[list].push(item);
    if (!this.classOf(this.classId)) this.classId = project.classes[0]?.id ?? "";
    if (!this.label(this.selected)) this.selected = "";
    this.tell("project");
    this.tell("chosen");
  }

  /** Do edits as one step of undo. New labels and classes are shown before the server has answered. */
  async edit(...edits) {
    const added = edits.filter(({ op }) => op in ADDS).map(({ op, ...item }) => ({ list: ADDS[op], item }));
    added.forEach((own) => this.#sent.add(own));
    this.adopt(this.project);
    const answered = () => added.forEach((own) => this.#sent.delete(own));
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

  async #change(path, body) {
    this.#waiting += 1;
    this.tell("saving");
    try {
      return await change(path, body);
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
