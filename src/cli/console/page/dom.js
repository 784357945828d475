// Elements of the page. Everything that an actor said becomes text: there is no way to markup here.

/** Makes an element: `h('a', { href, onclick }, 'text', child)`. A property whose value is false, null or undefined is left out. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for a drawing. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Puts other children into an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets the text of an element, if it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A long text: its beginning, and a button for the rest. A browser takes minutes to lay out a line of a mebibyte. */
export function showText(element, text, most = 20000) {
  element.textContent = text.length > most ? text.slice(0, most) : text;
  if (text.length > most) {
    const more = h('button', { type: 'button', onclick: () => showText(element, text, most * 10) }, `… show more of ${text.length.toLocaleString('en')} characters`);
    element.append('\n', more);
  }
}

/** A table of two columns: names and values. */
export function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== false && value !== '');
  return h('dl', { class: 'facts' }, rows.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}
