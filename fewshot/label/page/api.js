import { say } from "./messages.js";

const AGAIN = 1500; // milliseconds until what was not answered is sent again
const CLOSED = "This page's key is no longer valid: the server was started anew. Open the address that it printed.";

/** Ask the server. Throws an Error with its sentence where it refuses, and a TypeError where it cannot be reached. */
async function ask(path, init) {
  const answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...init });
  if (answer.status === 403) throw new Error(CLOSED);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `The server answered ${answer.status} ${answer.statusText}.`);
  return body;
}

export const get = (path) => ask(path);

export const post = (path, body = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const upload = (path, file) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });

let last = Promise.resolve();

/** Send a change after those before it, again and again until it is answered: a server that is away loses nothing. */
export function change(path, body) {
  const sent = last.then(() => insist(path, body));
  last = sent.catch(() => {});
  return sent;
}

async function insist(path, body) {
  let close = () => {};
  for (;;) {
    try {
      const answer = await post(path, body);
      close();
      return answer;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      close = say("The server does not answer. Your change is kept here and sent again.", { error: true });
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}
