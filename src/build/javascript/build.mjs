// Makes a component of an actor in TypeScript or JavaScript: `node build.mjs ORDER`. `theater build` gives the order, in JSON.
import { writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { componentize } from 'componentize-qjs';
import { build } from 'esbuild';

const { start, root, sdk, wit, world, imports, program } = JSON.parse(process.argv[2]);

function fail(text) {
  console.error(text);
  process.exit(1);
}

const outfile = join(dirname(start), 'program.js');
const bundle = await build({
  absWorkingDir: root,
  entryPoints: [start],
  bundle: true,
  write: false,
  outfile,
  sourcemap: 'external',
  metafile: true,
  format: 'esm',
  // What QuickJS understands. Async functions become generators, so that the library's promises run them: see its promise.ts.
  target: 'es2022',
  supported: { 'async-await': false, 'async-generator': false, 'for-await': false },
  platform: 'neutral',
  mainFields: ['module', 'main'],
  conditions: ['import', 'default'],
  external: ['ntwk:*'],
  alias: { 'theater-actor': sdk },
  keepNames: true,
  logLevel: 'warning',
}).catch(() => process.exit(1));

// A component that imports what its manifest does not grant could not be made: say which line of the manifest is missing.
const PACKAGE = 'ntwk:theater/';
const HANDLERS = { connections: 'websocket-server', labels: 'supervisor', monitors: 'monitor', streams: 'http-server' };
for (const [file, { imports: used }] of Object.entries(bundle.metafile.inputs)) {
  for (const { path } of used) {
    const name = path.startsWith(PACKAGE) ? path.slice(PACKAGE.length) : undefined;
    if (name === undefined || imports.includes(name)) continue;
    const users = Object.entries(bundle.metafile.inputs)
      .filter(([, input]) => input.imports.some((it) => it.path === file))
      .map(([user]) => user);
    const where = [...users, file].map((it) => relative(root, it)).find((it) => !it.startsWith('.theater')) ?? file;
    fail(`${where} uses ${path}, which the manifest does not grant; add to it:\n[[handlers]]\ntype = "${HANDLERS[name] ?? name}"`);
  }
}

/** The numbers of one segment of a source map. */
function segment(text) {
  const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const letter of text) {
    const digit = DIGITS.indexOf(letter);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}

/** Which line of which source each line of the bundle comes from, in the form that the library's stack.ts reads. */
function tableOf({ sources, mappings }) {
  const runs = [];
  let [source, line] = [0, 0];
  let [runSource, runShift] = [-1, 0];
  mappings.split(';').forEach((segments, index) => {
    let first;
    for (const part of segments.split(',')) {
      const [, sourceStep, lineStep] = part === '' ? [] : segment(part);
      if (sourceStep === undefined) continue;
      [source, line] = [source + sourceStep, line + lineStep];
      first ??= [source, line];
    }
    // A line without a source, such as a closing brace that esbuild added, belongs to what is above it.
    if (first === undefined || (first[0] === runSource && first[1] - index === runShift)) return;
    [runSource, runShift] = [first[0], first[1] - index];
    runs.push(index + 1, first[0], first[1] + 1);
  });
  return { sources: sources.map((it) => relative(root, resolve(dirname(outfile), it))), runs };
}

const text = (ending) => bundle.outputFiles.find((it) => it.path.endsWith(ending)).text;
const table = JSON.stringify(tableOf(JSON.parse(text('.map'))));
try {
  const { component } = await componentize({
    witPath: wit,
    jsSource: `${text('.js')}\nglobalThis[Symbol.for('theater.lines')] = ${table};\n`,
    world,
    sync: true,
  });
  await writeFile(program, component);
} catch (error) {
  fail(error.message ?? String(error));
}
