// A counter for each key: a Durable Object, whose storage is SQLite on the disk. The output gate holds its answer back
// until the storage says that the write is done; it is on, as it is unless one turns it off.

import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  async increment() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    this.ctx.storage.put("count", count);
    return count;
  }

  async count() {
    return (await this.ctx.storage.get("count")) ?? 0;
  }
}

export default {
  async fetch(request, env) {
    const [, , label, verb] = new URL(request.url).pathname.split("/");
    const counter = env.COUNTERS.get(env.COUNTERS.idFromName(label));
    const count = verb === "increment" ? await counter.increment() : await counter.count();
    return Response.json({ count });
  },
};
