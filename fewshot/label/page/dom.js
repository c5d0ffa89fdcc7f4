/** Make an element: h("button", {type: "button", onclick}, "Save"). Names with a hyphen, and `role`, become attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/** A choice among [value, text] pairs. */
export function select(choices, value, onchange, properties = {}) {
  const made = h("select", properties, ...choices.map(([own, text]) => h("option", { value: own }, text)));
  made.value = value;
  made.onchange = () => onchange(made.value);
  return made;
}

/** A field with its name before it. */
export const field = (name, input, ...after) =>
  h("label", { className: "field" }, h("span", {}, name), input, ...after);

/** A button. */
export const button = (text, onclick, properties = {}) => h("button", { type: "button", onclick, ...properties }, text);

/** Text for an id that nobody else has. It works on pages without TLS too, where randomUUID is missing. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Call a function once things have been still for some milliseconds. */
export function settled(wait, call) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), wait);
  };
}

/** "42 %" of a share. */
export const percent = (share) => `${(100 * share).toFixed(0)} %`;

/** "1 label", "3 labels". */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
