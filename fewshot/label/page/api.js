import { newId } from "./dom.js";
import { say } from "./messages.js";

export const AGAIN = 1500; // milliseconds until the server is asked again
const CLOSED = "The server was started anew. Open the address that it printed in another tab: this page then goes on.";
const GATEWAY = [502, 503, 504]; // what stands between answers these where the server does not

/** The server is away, or lets this page in no more: what was asked may be asked again. */
class Away extends Error {}

/** Ask the server. Throws an Error with its sentence where it refuses, and an Away where it does not answer. */
async function ask(path, init) {
  const answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...init }).catch(away);
  if (answer.status === 403) throw new Away(CLOSED);
  if (GATEWAY.includes(answer.status)) away();
  if (answer.ok) return answer.json().catch(away); // it may end in the middle
  const { error } = await answer.json().catch(() => ({}));
  throw new Error(error ?? `The server answered ${answer.status} ${answer.statusText}.`);
}

function away() {
  throw new Away("The server does not answer.");
}

export const get = (path) => ask(path);

export const post = (path, body = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const upload = (path, file) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });

let last = Promise.resolve();

/**
 * Send a change after those before it, again and again until it is answered: a server that is away loses nothing. Its
 * id tells the server one that it has done, but could not answer for.
 */
export function change(path, body) {
  const whole = { ...body, sent: newId() };
  return queued(() => post(path, whole));
}

/** Send a file that changes something, likewise. */
export function bringIn(path, file, field) {
  const query = new URLSearchParams({ name: file.name, field, sent: newId() });
  return queued(() => upload(`${path}?${query}`, file));
}

function queued(send) {
  const sent = last.then(() => insist(send));
  last = sent.catch(() => {});
  return sent;
}

async function insist(send) {
  let close = () => {};
  for (;;) {
    try {
      const answer = await send();
      close();
      return answer;
    } catch (error) {
      close();
      if (!(error instanceof Away)) throw error;
      close = say(`${error.message} Your change is kept here and sent again.`, { error: true });
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}
