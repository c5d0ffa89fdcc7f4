import { button, byId, count, field, h, newId, select } from "./dom.js";
import { deleteSelected } from "./editing.js";
import { say } from "./messages.js";
import { state } from "./state.js";

function row(own) {
  const labels = state.project.counts[own.id] ?? 0;
  const radio = h("input", { type: "radio", name: "class", value: own.id, checked: own.id === state.classId });
  radio.onchange = () => state.choose({ classId: own.id });
  return h(
    "div",
    { className: "class" },
    h(
      "label",
      {},
      radio,
      h("span", { className: "swatch", "--colour": own.colour }),
      h("span", { className: "class-name" }, own.name),
      h("span", { className: labels ? "quiet" : "quiet none" }, count(labels, "label")),
      own.key ? h("kbd", {}, own.key) : null,
    ),
    button("Edit", () => openDialog(own), { "aria-label": `Edit ${own.name}` }),
  );
}

// What has the focus keeps it, though the list is made anew.
function draw() {
  const { classes } = state.project;
  const focus = byId("classes").contains(document.activeElement) ? document.activeElement : null;
  const [type, value] = [focus?.type, focus?.type === "radio" ? state.classId : focus?.getAttribute("aria-label")];
  byId("classes").replaceChildren(...classes.map(row));
  byId("no-classes").hidden = classes.length > 0;
  const again = [...byId("classes").querySelectorAll("input, button")].find(
    (own) => own.type === type && (own.value === value || own.getAttribute("aria-label") === value),
  );
  again?.focus();
}

/** What can be done with the selected label. */
function drawSelection() {
  const label = state.label(state.selected);
  const place = byId("selection");
  place.hidden = !label;
  if (!label) return;
  const choices = state.project.classes.map(({ id, name }) => [id, name]);
  const clash = state.project.contradictions.includes(label.id);
  place.replaceChildren(
    h("h3", {}, `Selected ${label.kind}`),
    clash ? h("p", { className: "warning" }, "It contradicts a label of another class in the same pixel.") : "",
    h(
      "div",
      { className: "row" },
      field(
        "Class",
        select(choices, label.class, (of) => state.edit({ op: "set_class", ids: [label.id], class: of })),
      ),
      button("Delete", deleteSelected, { "aria-keyshortcuts": "Delete", title: "Delete (Del)" }),
    ),
  );
}

function freeColour() {
  const taken = new Set(state.project.classes.map(({ colour }) => colour));
  return state.project.palette.find((own) => !taken.has(own)) ?? `#${newId().slice(0, 6)}`;
}

function freeKey() {
  const taken = new Set(state.project.classes.map(({ key }) => key));
  return "123456789".split("").find((own) => !taken.has(own)) ?? "";
}

/** Ask for a class's name, colour and key; an existing one can also be merged into another, or deleted. */
function openDialog(own = null) {
  const dialog = byId("class-dialog");
  const name = h("input", {
    type: "text",
    required: true,
    maxLength: 80,
    value: own?.name ?? "",
    autofocus: true,
    autocomplete: "off",
  });
  const colour = h("input", { type: "color", value: own?.colour ?? freeColour() });
  const others = state.project.classes.filter(({ id }) => id !== own?.id);
  const taken = others.map(({ key }) => key).filter(Boolean);
  const keys = ["", ..."123456789"].filter((key) => !taken.includes(key)).map((key) => [key, key || "none"]);
  // What the server would refuse is said here, where it can be mended.
  const unlike = (input, what) => () => {
    const plain = input.value.trim().replace(/\s+/g, " ").toLowerCase();
    const same = others.find((other) => other[what].toLowerCase() === plain);
    input.setCustomValidity(same ? `${same.name} has this ${what} already.` : "");
  };
  name.oninput = unlike(name, "name");
  colour.oninput = unlike(colour, "colour");
  const key = select(keys, own?.key ?? freeKey(), () => {});
  const close = () => dialog.close();
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "class-dialog-title" }, own ? `Edit ${own.name}` : "Add a class"),
    field("Name", name),
    field("Colour", colour),
    field("Key", key),
    own ? more(own, others, close) : null,
    h(
      "div",
      { className: "row end" },
      button("Cancel", close),
      h("button", { className: "main" }, own ? "Save" : "Add"),
    ),
  );
  form.onsubmit = () => {
    const id = own?.id ?? newId();
    const values = { id, name: name.value.trim(), colour: colour.value, key: key.value };
    const edits = [{ op: own ? "change_class" : "add_class", ...values }];
    state.edit(...edits);
    if (!own) state.choose({ classId: id }); // at once: by the time of the answer another may be chosen
  };
  dialog.replaceChildren(form);
  dialog.showModal();
}

/** Merging and deleting. */
function more(own, rest, close) {
  const does = (edit, text) => () => {
    close();
    state.edit(edit()).then((done) => done && say(`${text()} Ctrl+Z takes it back.`));
  };
  const remove = button(
    "Delete class",
    does(
      () => ({ op: "delete_class", id: own.id }),
      () => `${own.name} and its labels are deleted.`,
    ),
    { className: "danger" },
  );
  if (!rest.length) return remove;
  const into = select(
    rest.map(({ id, name }) => [id, name]),
    rest[0].id,
    () => {},
  );
  const merge = button(
    "Merge",
    does(
      () => ({ op: "merge_class", from: own.id, into: into.value }),
      () => `${own.name} is merged.`,
    ),
  );
  return h(
    "fieldset",
    {},
    h("legend", {}, "Other changes"),
    h("div", { className: "row" }, field("Merge into", into), merge),
    remove,
  );
}

export function openClasses() {
  byId("add-class").onclick = () => openDialog();
  state.on("chosen", () => {
    draw();
    drawSelection();
  });
}
