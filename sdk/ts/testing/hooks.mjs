// What a test needs that loads an actor in Node.js: the library by its name, the host's interfaces, and TypeScript.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const sdk = dirname(dirname(fileURLToPath(import.meta.url)));
const HOST = 'ntwk:theater/';

/** The file of a module of the library. */
export function fileOf(specifier) {
  if (specifier === 'theater-actor') return join(sdk, 'index.ts');
  return specifier.startsWith('theater-actor/') ? join(sdk, `${specifier.slice('theater-actor/'.length)}.ts`) : undefined;
}

/** The source of a module that passes the calls of an interface to the `Host` of the test. */
export function sourceOf(specifier) {
  if (!specifier.startsWith(HOST)) return undefined;
  const declared = readFileSync(join(sdk, 'ntwk.d.ts'), 'utf8').split(`declare module '${specifier}' {`)[1]?.split('\n}')[0];
  if (declared === undefined) return undefined;
  const names = [...declared.matchAll(/export function (\w+)|export { \w+ as (\w+) }/g)].map(([, one, other]) => one ?? other);
  const interfaceName = specifier.slice(HOST.length);
  const lines = names.map((name, at) => `const it${at} = call('${name}');\nexport { it${at} as ${name} };`);
  return `const call = (name) => (...params) => {
  const host = globalThis[Symbol.for('theater.call')];
  if (host === undefined) {
    throw new Error('${interfaceName}.' + name + ' was called outside of Theater: make a Host of theater-actor/testing first');
  }
  return host('${interfaceName}', name, params);
};
${lines.join('\n')}\n`;
}

/** esbuild, of the project or of the toolchain that `theater build` has installed. */
async function esbuild() {
  const caches = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const toolchains = process.env.THEATER_TOOLCHAINS || join(caches, 'theater/toolchains');
  const installed = existsSync(toolchains) ? readdirSync(toolchains).filter((it) => it.startsWith('javascript-')).sort() : [];
  for (const from of [process.cwd(), ...installed.reverse().map((it) => join(toolchains, it))]) {
    try {
      return await import(pathToFileURL(createRequire(join(from, 'package.json')).resolve('esbuild')));
    } catch {}
  }
  throw new Error('TypeScript is compiled by esbuild, which is not here: run `theater build` once, or `npm install --save-dev esbuild`');
}

let compiler;

export async function resolve(specifier, context, next) {
  const file = fileOf(specifier);
  if (file !== undefined) return { url: pathToFileURL(file).href, shortCircuit: true };
  if (specifier.startsWith(HOST)) return { url: specifier, format: 'module', shortCircuit: true };
  if (/^\.\.?\//.test(specifier) && context.parentURL?.startsWith('file:')) {
    const path = fileURLToPath(new URL(specifier, context.parentURL));
    const found = [path, `${path}.ts`, path.replace(/\.js$/, '.ts')].find((it) => /\.[cm]?[jt]s$/.test(it) && existsSync(it));
    if (found !== undefined) return { url: pathToFileURL(found).href, shortCircuit: true };
  }
  return next(specifier, context);
}

export async function load(url, context, next) {
  const source = sourceOf(url);
  if (source !== undefined) return { format: 'module', source, shortCircuit: true };
  if (!/^file:.*\.ts$/.test(url)) return next(url, context);
  compiler ??= await esbuild();
  const file = fileURLToPath(url);
  const { code } = await compiler.transform(readFileSync(file, 'utf8'), {
    loader: 'ts',
    format: 'esm',
    target: 'es2022',
    sourcemap: 'inline',
    sourcefile: file,
  });
  return { format: 'module', source: code, shortCircuit: true };
}
