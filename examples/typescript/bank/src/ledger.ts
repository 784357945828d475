// An actor that runs a small bank over HTTP. Each account is a separate actor, and a child of this one. The paths and statuses are
// those of the ledger in Rust, `actors/ledger`, which explains them.
//
// The ledger holds no money: only the accounts know where the money is. A transfer that was interrupted is still open at its sender,
// and the ledger continues it when it next asks that account. One that it could not finish is remembered, and tried again at each request.
import { Actor, type ChildEvent, HostError, type HttpRequest, type HttpResponse, type Of, log, messages } from 'theater-actor';
import { Router, bodyJson, error, json, list, optional, record, shape, text, u64, withHeader } from 'theater-actor';
import * as supervisor from 'theater-actor/supervisor';
import { Books, DECLINED, type Message, Status, inOrder, isName, own, sorted, total } from './message';

const Unfinished = shape({ from: text, number: u64, to: text, cents: u64, why: text });
type Unfinished = Of<typeof Unfinished>;
type Transfer = Omit<Unfinished, 'why'>;

/** How many notices are kept. */
const NOTICES = 100;

/** Why an operation was not carried out, with the status of HTTP that says so. */
class Trouble extends Error {
  constructor(
    readonly status: 400 | 404 | 409 | 503,
    why: string,
  ) {
    super(why);
  }
}

/** What an account has answered: its status, that it refused, or that it did not answer, and may have done it nevertheless. */
type Answer = { status: Status } | { refused: string } | { unanswered: string };

function asked(id: string, message: Message): { answer: any } | { refused: string } | { unanswered: string } {
  try {
    return { answer: messages.request(id, message) };
  } catch (problem) {
    if (!(problem instanceof HostError)) throw problem;
    const why = problem.message;
    return why.startsWith(DECLINED) ? { refused: why.slice(DECLINED.length) } : { unanswered: why };
  }
}

function ask(id: string, message: Message): Answer {
  const got = asked(id, message);
  return 'answer' in got ? { status: Status.check(got.answer, 'the answer of an account') } : got;
}

/** The status that an account must give. */
function must(answer: Answer): Status {
  if ('status' in answer) return answer.status;
  throw 'refused' in answer ? new Trouble(409, answer.refused) : new Trouble(503, answer.unanswered);
}

const noAccount = (name: string) => `there is no account ${JSON.stringify(name)}`;

export default class Ledger extends Actor {
  static state = shape({
    accounts: record(shape({ id: text, restarts: u64 })),
    unfinished: record(Unfinished),
    notices: list(shape({ account: text, event: text, why: optional(text) })),
  });

  accounts: Record<string, { id: string; restarts: bigint }> = {};
  /** Unfinished transfers by sender; a sender can have only one open transfer. */
  unfinished: Record<string, Unfinished> = {};
  notices: { account: string; event: string; why?: string }[] = [];

  handleHttp(request: HttpRequest): HttpResponse {
    const response = routes.answer(this, request) as HttpResponse;
    // End with a line feed, for people who use a terminal.
    return { ...response, body: new Uint8Array([...(response.body ?? []), 10]) };
  }

  handleChildEvent({ childId, kind }: ChildEvent): void {
    const found = Object.entries(this.accounts).find(([, { id }]) => id === childId);
    // A child that is being opened is reported by the opening itself.
    if (found === undefined || kind.tag === 'started') return;
    const [name, account] = found;
    if (kind.tag === 'restarted') account.restarts++;
    this.note(name, kind.tag, kind.tag === 'failed' ? kind.val : undefined);
    if (kind.tag === 'restarted') this.finish();
  }

  open(name: string): void {
    if (!isName(name)) throw new Trouble(400, 'a name has 1 to 32 letters, digits, - and _');
    if (own(this.accounts, name) !== undefined) throw new Trouble(409, `there is an account ${name} already`);
    const id = getOrSpawn(name);
    must(ask(id, { open: { owner: name } }));
    this.accounts = sorted({ ...this.accounts, [name]: { id, restarts: 0n } });
  }

  id(name: string): string {
    const account = own(this.accounts, name);
    if (account === undefined) throw new Trouble(404, noAccount(name));
    return account.id;
  }

  /** The status of an account. If an interruption has left a transfer open there, it is continued first. */
  status(name: string): Status {
    const status = must(ask(this.id(name), 'balance'));
    if (status.open === null) return status;
    this.carryOn({ from: name, ...status.open });
    return must(ask(this.id(name), 'balance'));
  }

  transfer(from: string, to: string, cents: bigint): HttpResponse {
    checkAmount(cents);
    if (from === to) throw new Trouble(400, 'a transfer is from one account to another');
    // Ask both accounts before money moves, so that no money must be returned because an account is down.
    const sender = this.status(from);
    this.status(to);
    const unfinished = own(this.unfinished, from);
    if (unfinished !== undefined) {
      throw new Trouble(409, `transfer ${unfinished.number} of ${from} to ${unfinished.to} is not finished: ${unfinished.why}`);
    }
    const transfer = { from, number: sender.sent + 1n, to, cents };
    const outcome = this.carryOut(transfer);
    if (outcome === undefined) return json(201, transfer);
    if ('refused' in outcome) throw new Trouble(409, outcome.refused);
    return json(202, { ...transfer, why: outcome.unfinished });
  }

  /** Tries again to finish transfers that could not be finished before. */
  finish(): void {
    for (const { why: _, ...transfer } of inOrder(this.unfinished).map(([, it]) => it)) this.carryOn(transfer);
  }

  /** Carries out a transfer that nobody waits for. If it is refused, a notice records this. */
  private carryOn(transfer: Transfer): void {
    const outcome = this.carryOut(transfer);
    const { from, number, to } = transfer;
    if (outcome !== undefined && 'refused' in outcome) this.note(from, `transfer ${number} to ${to} refused`, outcome.refused);
  }

  /** Does the remaining steps of a transfer, and remembers the transfer if some could not be done. */
  private carryOut(transfer: Transfer): { refused: string } | { unfinished: string } | undefined {
    const outcome = this.attempt(transfer);
    const { [transfer.from]: _, ...others } = this.unfinished;
    const isUnfinished = outcome !== undefined && 'unfinished' in outcome;
    this.unfinished = isUnfinished ? sorted({ ...others, [transfer.from]: { ...transfer, why: outcome.unfinished } }) : others;
    return outcome;
  }

  /** Does all steps of a transfer from the first one, whatever was done before. Each step has its effect only once. */
  private attempt({ from, number, to, cents }: Transfer): { refused: string } | { unfinished: string } | undefined {
    const sent = this.ask(from, { send: { number, to, cents } });
    if ('refused' in sent) return sent;
    if ('unanswered' in sent) return { unfinished: sent.unanswered };
    const { open } = sent.status;
    if (open?.number !== number || open.to !== to || open.cents !== cents) return undefined;
    const received = this.ask(to, { receive: { number, from, cents } });
    // The receiver may have the money, so it cannot be given back before that is known.
    if ('unanswered' in received) return { unfinished: received.unanswered };
    const last = this.ask(from, 'refused' in received ? { 'take-back': { number } } : { settle: { number } });
    if ('refused' in last) return { unfinished: last.refused };
    if ('unanswered' in last) return { unfinished: last.unanswered };
    return 'refused' in received ? received : undefined;
  }

  /** Sends a message of a transfer to an account. An unknown account will never take part in the transfer. */
  private ask(name: string, message: Message): Answer {
    const account = own(this.accounts, name);
    return account === undefined ? { refused: noAccount(name) } : ask(account.id, message);
  }

  /** Everything that the ledger can show. */
  overview(): unknown {
    let standings = this.standings();
    if (Object.values(standings).some((it) => 'status' in it && it.status.open !== null)) {
      for (const [name] of inOrder(this.accounts)) {
        try {
          this.status(name);
        } catch (trouble) {
          // The account does not answer; the list of accounts says so.
          if (!(trouble instanceof Trouble)) throw trouble;
        }
      }
      standings = this.standings();
    }
    const books = this.books(standings);
    const accounts = Object.entries(this.accounts).map(([name, { restarts }]) => {
      const it = standings[name]!;
      if ('status' in it) return [name, { balance: it.status.balance, restarts }];
      const unavailable = 'refused' in it ? it.refused : it.unanswered;
      return [name, { balance: books?.[name]!.balance ?? null, restarts, unavailable }];
    });
    return {
      accounts: Object.fromEntries(accounts),
      total: books === undefined ? null : total(books),
      unfinished: Object.values(this.unfinished),
      notices: this.notices,
    };
  }

  private standings(): Record<string, Answer> {
    return Object.fromEntries(inOrder(this.accounts).map(([name, { id }]) => [name, ask(id, 'balance')]));
  }

  /** Where the money is: the answers of the accounts if all have answered and no transfer is open, otherwise their states. */
  private books(standings: Record<string, Answer>): Record<string, Books> | undefined {
    const all = Object.entries(standings);
    if (all.every(([, it]) => 'status' in it && it.status.open === null)) {
      return Object.fromEntries(all.map(([name, it]) => [name, { ...(it as { status: Status }).status, received: {} }]));
    }
    try {
      const none = { owner: null, balance: 0, sent: 0, open: null, received: {} };
      const read = (id: string) => Books.check({ ...none, ...supervisor.childState<object>(id) }, 'the state of an account');
      return Object.fromEntries(inOrder(this.accounts).map(([name, { id }]) => [name, read(id)]));
    } catch (problem) {
      if (problem instanceof HostError) return undefined;
      throw problem;
    }
  }

  private note(account: string, event: string, why?: string): void {
    log(`account ${account}: ${event}${why === undefined ? '' : `: ${why}`}`);
    this.notices.push(why === undefined ? { account, event } : { account, event, why });
    this.notices = this.notices.slice(-NOTICES);
  }
}

/** The account that has its owner's name as its label, which an interrupted opening may have left. One that is not there is spawned. */
function getOrSpawn(owner: string): string {
  try {
    return supervisor.getOrSpawn('account.toml', owner);
  } catch (problem) {
    throw problem instanceof HostError ? new Trouble(503, problem.message) : problem;
  }
}

function checkAmount(cents: bigint): void {
  if (cents === 0n) throw new Trouble(400, 'an amount is at least one cent');
}

const Name = shape({ name: text });
const Amount = shape({ cents: u64 });
const Order = shape({ from: text, to: text, cents: u64 });

function balance(account: string, { balance, open }: Status): HttpResponse {
  return json(200, open === null ? { account, balance } : { account, balance, open });
}

type Route<P> = (ledger: Ledger, request: HttpRequest & { params: P }) => HttpResponse;

/** What every resource does: it first finishes what is unfinished, and tells of trouble by a status. */
function served<P>(route: Route<P>): Route<P> {
  return (ledger, request) => {
    ledger.finish();
    try {
      return route(ledger, request);
    } catch (trouble) {
      if (trouble instanceof Trouble) return error(trouble.status, trouble.message);
      throw trouble;
    }
  };
}

type Named = { name: string };

/** Money that comes in or goes out. */
const paid = (kind: 'deposit' | 'withdraw') =>
  served<Named>((ledger, request) => {
    const { name } = request.params;
    const { cents } = bodyJson(request, Amount);
    checkAmount(cents);
    const message = kind === 'deposit' ? { deposit: { cents } } : { withdraw: { cents } };
    return balance(name, must(ask(ledger.id(name), message)));
  });

const routes = new Router<Ledger>()
  .get('/', served((ledger) => json(200, ledger.overview())))
  .post('/accounts', served((ledger, request) => {
    const { name } = bodyJson(request, Name);
    ledger.open(name);
    return withHeader(json(201, { account: name, balance: 0 }), 'location', `/accounts/${name}`);
  }))
  .get('/accounts/:name', served<Named>((ledger, { params: { name } }) => balance(name, ledger.status(name))))
  .get('/accounts/:name/statement', served<Named>((ledger, { params: { name } }) => {
    const got = asked(ledger.id(name), 'statement');
    if ('answer' in got) return json(200, got.answer);
    throw 'refused' in got ? new Trouble(409, got.refused) : new Trouble(503, got.unanswered);
  }))
  .post('/accounts/:name/deposit', paid('deposit'))
  .post('/accounts/:name/withdraw', paid('withdraw'))
  .post('/accounts/:name/crash', served<Named>((ledger, { params: { name } }) => {
    const answer = ask(ledger.id(name), 'crash');
    if ('status' in answer) throw new Trouble(503, 'it is still up');
    return json(200, { account: name, crashed: 'refused' in answer ? answer.refused : answer.unanswered });
  }))
  .post('/transfers', served((ledger, request) => {
    const { from, to, cents } = bodyJson(request, Order);
    return ledger.transfer(from, to, cents);
  }));
