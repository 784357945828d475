// `Math.random` and `crypto` for an actor whose manifest does not grant the handler `random`: they refuse by name. A build
// imports this before the actor.

function refusing(name: string) {
  return () => {
    throw new Error(`${name} needs the handler "random": grant it in the manifest, and build the actor again`);
  };
}

Math.random = refusing('Math.random');

(globalThis as any).crypto = {
  getRandomValues: refusing('crypto.getRandomValues'),
  randomUUID: refusing('crypto.randomUUID'),
};
