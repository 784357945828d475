// Makes a component of an actor in TypeScript or JavaScript: `node build.mjs ORDER`. `theater build` gives the order, in JSON.
import { writeFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { componentize } from 'componentize-qjs';
import { build } from 'esbuild';

const { start, root, sdk, wit, world, imports, program } = JSON.parse(process.argv[2]);

function fail(text) {
  console.error(text);
  process.exit(1);
}

const bundle = await build({
  absWorkingDir: root,
  entryPoints: [start],
  bundle: true,
  write: false,
  metafile: true,
  format: 'esm',
  // What QuickJS understands.
  target: 'es2022',
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
const HANDLERS = { monitors: 'monitor', labels: 'supervisor' };
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

try {
  const { component } = await componentize({
    witPath: wit,
    jsSource: bundle.outputFiles[0].text,
    world,
    sync: true,
  });
  await writeFile(program, component);
} catch (error) {
  fail(error.message ?? String(error));
}
