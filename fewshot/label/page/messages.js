import { byId, button, h } from "./dom.js";

const SHOWN = 6000; // milliseconds

/** Say something, on the page and to screen readers. One that stays is taken away by its button or by `stay`'s answer. */
export function say(text, { error = false, stay = error } = {}) {
  const own = h("div", { className: error ? "message error" : "message" }, h("span", {}, text));
  const close = () => own.remove();
  own.append(button("×", close, { "aria-label": "Close the message" }));
  const all = byId("messages");
  if (stay) own.dataset.stay = "";
  // One that passes makes room for the next; those that stay do not say the same twice.
  for (const other of [...all.children]) {
    if (other.firstChild.textContent === text || !(stay || "stay" in other.dataset)) other.remove();
  }
  all.append(own);
  if (!stay) setTimeout(close, SHOWN);
  return close;
}

/** Say something to screen readers alone, of what others see happen. */
export function whisper(text) {
  byId("whisper").textContent = text;
}

/** Run what may fail, and say why it did. */
export async function attempt(call) {
  try {
    return await call();
  } catch (error) {
    say(error.message, { error: true });
    return undefined;
  }
}
