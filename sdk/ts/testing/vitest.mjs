// The plugin for tests of an actor with vitest. In vitest.config.mjs:
//
//     import { theater } from './.theater/sdk/ts/testing/vitest.mjs';
//     export default { plugins: [theater()] };
import { fileOf, sourceOf } from './hooks.mjs';

export function theater() {
  return {
    name: 'theater',
    enforce: 'pre',
    resolveId: (id) => fileOf(id) ?? (sourceOf(id) === undefined ? undefined : `\0${id}`),
    load: (id) => (id.startsWith('\0') ? sourceOf(id.slice(1)) : undefined),
  };
}
