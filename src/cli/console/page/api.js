// Questions to the console.
import { fromJson, visible } from './format.js';

const KEY = 'theater-console-key';

/** The key that the console asks for: it comes behind the `#` of the address, and stays in this browser. */
export function key() {
  const given = /(?:^#|&)key=([^&]+)/.exec(location.hash);
  if (given) {
    localStorage.setItem(KEY, given[1]);
    history.replaceState(null, '', `${location.pathname}#/`);
  }
  return localStorage.getItem(KEY);
}

export function headers() {
  const known = key();
  return known ? { authorization: `Bearer ${known}` } : {};
}

async function answer(response) {
  const text = await response.text();
  let json;
  try {
    json = fromJson(text);
  } catch {
    throw new Error(`the console answered ${response.status} without JSON`);
  }
  if (!response.ok) throw new Error(visible(json.error ?? `the console answered ${response.status}`));
  return json;
}

/** Asks a question: `ask('events', { actor, from })`. */
export async function ask(question, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return answer(await fetch(`/api/${question}?${new URLSearchParams(given)}`, { headers: headers() }));
}

/** Sends a command of the management protocol. */
export async function command(name, fields) {
  const body = JSON.stringify(fields === undefined ? name : { [name]: fields });
  const response = await fetch('/api/command', { method: 'POST', headers: { ...headers(), 'content-type': 'application/json' }, body });
  return answer(response);
}

/** Text as the protocol carries messages. */
export function toBase64(text) {
  const bytes = new TextEncoder().encode(text);
  let binary = '';
  for (let at = 0; at < bytes.length; at += 4096) binary += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(binary);
}

export function fromBase64(text) {
  return new TextDecoder().decode(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
}
