// An actor that is one account of a bank: it holds money and sends it to other accounts.
//
// Money never appears or disappears: each step either moves a whole amount and records it, or is refused and changes nothing. The
// balance and the open transfer together always fit into 64 bits, so taking a transfer back cannot fail.
import { Actor, refuse } from 'theater-actor';
import { DECLINED, type Entry, Message, type Outgoing, State, isName, own, sorted } from './message';

/** How many entries are kept; older ones are only counted. */
const ENTRIES = 100;
const MOST = 2n ** 64n - 1n;

function decline(why: string): never {
  return refuse(DECLINED + why);
}

export default class Account extends Actor {
  static message = Message;
  static state = State;

  owner: string | null = null;
  balance = 0n;
  /** How many transfers it has sent; this is also the number of the last one. */
  sent = 0n;
  /** The last transfer until it is settled or taken back. */
  open: Outgoing | null = null;
  /** The number of the last transfer it received from each account. */
  received: Record<string, bigint> = {};
  entries: Entry[] = [];
  earlier = 0n;

  handleRequest(message: Message): unknown {
    if (message === 'crash') throw new Error('the account was asked to crash');
    const { owner, balance, earlier, entries } = this;
    if (message === 'statement') return { owner, balance, earlier, entries };
    if (message !== 'balance') this.carryOut(message);
    return { owner: this.owner, balance: this.balance, sent: this.sent, open: this.open };
  }

  private carryOut(message: Exclude<Message, string>): void {
    if ('open' in message) this.begin(message.open.owner);
    else if ('deposit' in message) this.takeIn(message.deposit.cents, { movement: 'deposit' });
    else if ('withdraw' in message) this.giveOut(message.withdraw.cents, { movement: 'withdrawal' });
    else if ('send' in message) this.send(message.send);
    else if ('receive' in message) this.receive(message.receive);
    else if ('settle' in message) this.close(message.settle.number);
    else this.takeBack(message['take-back'].number);
  }

  private begin(owner: string): void {
    if (this.owner !== null && this.owner !== owner) decline(`this is the account of ${this.owner}`);
    if (!isName(owner)) decline(`${JSON.stringify(owner)} is no name for an account`);
    this.owner = owner;
  }

  /** Sets the money of a new transfer aside. Does nothing if that was done before. */
  private send({ number, to, cents }: Outgoing): void {
    const { open, sent } = this;
    if (open !== null) {
      if (open.number === number && open.to === to && open.cents === cents) return;
      decline(`transfer ${open.number} to ${open.to} is still open`);
    }
    if (number <= sent) return;
    if (number > sent + 1n) decline(`the next transfer has number ${sent + 1n}, not ${number}`);
    this.giveOut(cents, { movement: 'sent', number, to });
    this.sent = number;
    this.open = { number, to, cents };
  }

  /** Receives the money of a transfer. Does nothing if that was done before. */
  private receive({ number, from, cents }: { number: bigint; from: string; cents: bigint }): void {
    const last = own(this.received, from);
    if (last !== undefined && number <= last) return;
    this.takeIn(cents, { movement: 'received', number, from });
    this.received = sorted({ ...this.received, [from]: number });
  }

  /** Closes a transfer, and returns it. Does nothing if the transfer is already closed. */
  private close(number: bigint): Outgoing | undefined {
    if (number > this.sent) decline(`there is no transfer ${number} yet`);
    if (this.open?.number !== number) return undefined;
    const closed = this.open;
    this.open = null;
    return closed;
  }

  /** Takes back the money of a transfer that was refused. */
  private takeBack(number: bigint): void {
    const closed = this.close(number);
    if (closed !== undefined) this.takeIn(closed.cents, { movement: 'taken-back', number, to: closed.to });
  }

  private takeIn(cents: bigint, movement: Omit<Entry, 'cents' | 'balance'>): void {
    this.check(cents);
    if (this.balance + (this.open?.cents ?? 0n) + cents > MOST) {
      decline(`${cents} cents are more than an account of ${this.balance} can take in`);
    }
    this.enter(this.balance + cents, cents, movement);
  }

  private giveOut(cents: bigint, movement: Omit<Entry, 'cents' | 'balance'>): void {
    this.check(cents);
    if (cents > this.balance) decline(`${cents} cents are more than the balance of ${this.balance}`);
    this.enter(this.balance - cents, cents, movement);
  }

  private check(cents: bigint): void {
    if (this.owner === null) decline('the account was not opened');
    if (cents === 0n) decline('an amount is at least one cent');
  }

  private enter(balance: bigint, cents: bigint, movement: Omit<Entry, 'cents' | 'balance'>): void {
    this.balance = balance;
    this.entries.push({ ...movement, cents, balance });
    for (; this.entries.length > ENTRIES; this.earlier++) this.entries.shift();
  }
}
