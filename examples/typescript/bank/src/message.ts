// The messages that accounts receive and their answers. All amounts are whole cents, up to 2^64 - 1.
import { type Of, list, literal, nullable, oneOf, optional, record, shape, text, u64 } from 'theater-actor';

/** A transfer, as its sender records it. */
export const Outgoing = shape({ number: u64, to: text, cents: u64 });
export type Outgoing = Of<typeof Outgoing>;

const amount = shape({ cents: u64 });
const numbered = shape({ number: u64 });

/**
 * A message to an account. A transfer is `send` to one account, `receive` to the other, and then `settle` or, if the other has
 * refused the money, `take-back`. Each may be repeated any number of times, and has its effect once.
 */
export const Message = oneOf(
  'balance',
  'statement',
  'crash',
  shape({ open: shape({ owner: text }) }),
  shape({ deposit: amount }),
  shape({ withdraw: amount }),
  shape({ send: Outgoing }),
  shape({ receive: shape({ number: u64, from: text, cents: u64 }) }),
  shape({ settle: numbered }),
  shape({ 'take-back': numbered }),
);
export type Message = Of<typeof Message>;

/** The current position of an account. The money of the open transfer is not part of the balance. */
export const Status = shape({ owner: nullable(text), balance: u64, sent: u64, open: nullable(Outgoing) });
export type Status = Of<typeof Status>;

/** One movement, and the balance after it. */
export const Entry = shape({
  movement: literal('deposit', 'withdrawal', 'sent', 'received', 'taken-back'),
  number: optional(u64),
  to: optional(text),
  from: optional(text),
  cents: u64,
  balance: u64,
});
export type Entry = Of<typeof Entry>;

/** The parts of an account's state that say where money is. The ledger reads them if an account does not answer. */
export const Books = shape({ owner: nullable(text), balance: u64, sent: u64, open: nullable(Outgoing), received: record(u64) });
export type Books = Of<typeof Books>;

/** The state of an account. A manifest may give an owner and a balance alone. */
export const State = shape({
  owner: nullable(text),
  balance: u64,
  sent: optional(u64),
  open: optional(nullable(Outgoing)),
  received: optional(record(u64)),
  entries: optional(list(Entry)),
  earlier: optional(u64),
});

/** What the error of an account begins with that has refused a message for good: nothing was done. */
export const DECLINED = 'declined: ';

/** Whether an account may have this name: it needs no escaping in a path, a message or a log. */
export function isName(name: string): boolean {
  return /^[A-Za-z0-9_-]{1,32}$/.test(name);
}

/** The value of a key that the object itself has. It inherits others: `constructor` is a name that an account may have. */
export function own<T>(values: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(values, key) ? values[key] : undefined;
}

/** The keys and values in the order of the keys. An object by itself has `9` before `10`, and both before all others. */
export function inOrder<T>(values: Record<string, T>): [string, T][] {
  return Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** An object with its keys in order, so that equal states are equal bytes. */
export function sorted<T>(values: Record<string, T>): Record<string, T> {
  return Object.fromEntries(inOrder(values));
}

/** All the money: the balances, and the transfers that have left one account and not arrived at another. */
export function total(accounts: Record<string, Books>): bigint {
  let sum = 0n;
  for (const [name, { balance, open }] of Object.entries(accounts)) {
    sum += balance;
    const received = open === null ? undefined : own(accounts, open.to)?.received;
    const hasArrived = open !== null && (own(received ?? {}, name) ?? 0n) >= open.number;
    if (open !== null && !hasArrived) sum += open.cents;
  }
  return sum;
}
