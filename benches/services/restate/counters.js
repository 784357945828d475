// A counter for each key: a virtual object, whose handlers run one at a time and whose state Restate keeps. This process
// runs the handlers; the server asks it over HTTP/2. The port is the first argument.

import * as restate from "@restatedev/restate-sdk";

const counters = restate.object({
  name: "counters",
  handlers: {
    increment: async (ctx) => {
      const count = ((await ctx.get("count")) ?? 0) + 1;
      ctx.set("count", count);
      return { count };
    },
    count: async (ctx) => ({ count: (await ctx.get("count")) ?? 0 }),
  },
});

await restate.serve({ services: [counters], port: Number(process.argv[2]) });
console.log("ready");
