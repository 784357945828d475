// `fetch` for an actor whose manifest does not grant the handler `http-client`: it refuses by name. A build imports this before
// the actor.

(globalThis as any).fetch = () => {
  throw new Error('fetch needs the handler "http-client": grant it in the manifest, and build the actor again');
};
