// Numbers, times and JSON as people read them.

/** The digits of an integer that a JavaScript number cannot hold are kept as they were sent. */
function exact(_key, value, context) {
  const isRounded = typeof value === 'number' && !Number.isSafeInteger(value) && context && /^-?\d+$/.test(context.source);
  return isRounded && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

/** Reads JSON. */
export function fromJson(text) {
  return JSON.parse(text, exact);
}

export function pretty(value) {
  return JSON.stringify(value, null, 2) ?? 'null';
}

/** One line of JSON, cut. */
export function brief(value, length = 160) {
  const text = visible(typeof value === 'string' ? value : JSON.stringify(value) ?? '');
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** Text whose control characters are shown, and change nothing: neither a line, nor the direction of writing. */
export function visible(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '\ufffd');
}

export function rate(value) {
  if (value === null || value === undefined) return '';
  if (value === 0) return '0';
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en');
}

export function count(value) {
  return value === null || value === undefined ? '' : value.toLocaleString('en');
}

export function micros(value) {
  if (value === null || value === undefined) return '';
  if (value < 1000) return `${value} µs`;
  return value < 1e6 ? `${(value / 1000).toFixed(1)} ms` : `${(value / 1e6).toFixed(1)} s`;
}

export function millis(value) {
  if (value < 1000) return `${value} ms`;
  return value < 60000 ? `${(value / 1000).toFixed(1)} s` : `${Math.floor(value / 60000)} min ${Math.round((value % 60000) / 1000)} s`;
}

export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const two = (number) => String(number).padStart(2, '0');

/** The time of day here, to the millisecond, and before it the date if that is not today. */
export function time(ms) {
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
  return at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
}

export function age(ms) {
  const seconds = Math.max(0, Math.floor((Date.now() - ms) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min` : `${Math.floor(seconds / 86400)} d`;
}
