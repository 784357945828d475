// The loader for tests of an actor: `node --import ./.theater/sdk/ts/testing/register.mjs --test`.
import { register } from 'node:module';

register('./hooks.mjs', import.meta.url);
