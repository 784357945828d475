// What an actor gets before a call: its state and its message, checked if its class says which shape they have.
import type { Actor, ActorClass } from './actor';
import { fromJson } from './bytes';
import { Refusal } from './refusal';
import { Mismatch, Shape } from './shape';

/** The shapes that a class of actors may name. */
interface Shapes {
  message?: unknown;
  state?: unknown;
}

/** The actor with this state. */
export function loaded<A extends Actor>(Class: ActorClass<A>, bytes: Uint8Array | null | undefined): A {
  const actor = new Class();
  if (bytes == null) return actor;
  const fields = fieldsOf(fromJson(bytes), (Class as Shapes).state);
  for (const [name, value] of Object.entries(fields)) {
    // JSON has one kind of integer: a field that begins as a BigInt stays one.
    const isBigInt = typeof (actor as any)[name] === 'bigint' && Number.isSafeInteger(value);
    (actor as any)[name] = isBigInt ? BigInt(value as number) : value;
  }
  return actor;
}

/** The fields that a state holds. */
function fieldsOf(state: unknown, shape: unknown): object {
  if (typeof state !== 'object' || state === null || Array.isArray(state)) {
    throw new TypeError('the state is no JSON object, whose keys would be the fields of the actor');
  }
  if (!(shape instanceof Shape)) return state;
  try {
    return shape.read(state, '') as object;
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    throw new TypeError(`the state${error.at && ` at ${error.at}`}: expected ${error.expected}, got ${error.got}`);
  }
}

/** The message that another actor sent. What is no JSON, or has another shape than the class says, is refused. */
export function received(Class: ActorClass, message: Uint8Array): unknown {
  let value: unknown;
  try {
    value = fromJson(message);
  } catch (error) {
    throw new Refusal(`the message is no JSON: ${error instanceof Error ? error.message : error}`);
  }
  const shape = (Class as Shapes).message;
  return shape instanceof Shape ? shape.check(value, 'the message') : value;
}
