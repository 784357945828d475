// Stack traces that name the author's own files and lines. A build leaves a table of the lines of the bundle; here it is read.

interface Lines {
  sources: string[];
  /** Triples in ascending order: a line of the bundle, its source (-1 for none), and its line there. The lines after it follow. */
  runs: number[];
}

/** The place of a line of the bundle, if it comes from a source. */
function placeOf(line: number): string | undefined {
  const table = (globalThis as any)[Symbol.for('theater.lines')] as Lines | undefined;
  if (table === undefined) return undefined;
  let [low, high] = [0, table.runs.length / 3];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (table.runs[3 * middle]! <= line) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return undefined;
  const [first, source, there] = table.runs.slice(3 * low - 3, 3 * low) as [number, number, number];
  return source < 0 ? undefined : `${table.sources[source]}:${there + line - first}`;
}

/** The frames of the library and of what the build adds say nothing to an author. */
const OF_THE_LIBRARY = /\.theater\/|^$/;

/** A stack as the engine wrote it, with the places in the sources. */
export function mappedStack(stack: string): string {
  const frames = stack.split('\n').flatMap((frame) => {
    const found = /^(\s*at .*?)\(?([^\s()]+?):(\d+)(?::\d+)?\)?\s*$/.exec(frame);
    if (found === null) return /^\s*at .*\(native\)\s*$/.test(frame) ? [] : [frame];
    const [, before, , line] = found;
    const place = placeOf(Number(line));
    if (place === undefined || OF_THE_LIBRARY.test(place)) return [];
    return [before!.trim() === 'at' ? `    at ${place}` : `${before!.trimEnd()} (${place})`];
  });
  return frames.join('\n').trimEnd();
}
