// Events as people read them: an HTTP call as `POST /transfers → 201`, a failure by its text.
import { h } from './dom.js';
import { brief, millis, visible } from './format.js';

const CLOSING = ['return', 'refused', 'failed', 'stopped'];

export const KINDS = ['started', 'call', 'intent', 'host-call', 'return', 'refused', 'failed', 'stopped'];

export function kindOf(event) {
  return event.event_type.split(' ')[0];
}

/** The function of an event, without the package. */
export function functionOf(event) {
  return (event.event_type.split(' ')[1] ?? '').replace(/^ntwk:theater\//, '');
}

function isHttp(event) {
  return /^(http-server|stream-handlers)\.handle-request$/.test(functionOf(event));
}

/** The request of an HTTP call: behind the id of its stream, if there is one. */
function requestOf(call) {
  const params = call.data?.params;
  return Array.isArray(params) ? params.at(-1) : undefined;
}

/** The event that closes each call of a list of events, which is in the order of the chain. */
export function closings(events) {
  const found = new Map();
  let open = null;
  for (const event of events) {
    if (kindOf(event) === 'call') open = event;
    else if (open && CLOSING.includes(kindOf(event))) {
      found.set(open.sequence, event);
      open = null;
    }
  }
  return found;
}

function statusOf(closing) {
  const result = closing.data?.result;
  return (result?.response ?? result?.stream ?? result)?.status;
}

/** The body of a request or a response, if there is one. */
function bodyOf(message, length) {
  const body = message?.body;
  return body === undefined || body === null || body === '' ? '' : ` ${brief(body, length)}`;
}

function outcome(closing) {
  switch (kindOf(closing)) {
    case 'return': {
      if (closing.data?.deferred !== undefined && closing.data?.deferred !== null) return 'answered later';
      const status = statusOf(closing);
      // Why a request was not served stands in the body.
      return status >= 400 ? `${status}${bodyOf(closing.data?.result?.response ?? closing.data?.result, 120)}` : status ?? 'returned';
    }
    case 'refused': return `refused: ${brief(closing.data?.message ?? '', 80)}`;
    case 'failed': return `failed: ${brief(closing.data?.detail ?? '', 120)}`;
    default: return 'stopped';
  }
}

/** One line about an event; `closing` is the event that ends it, if it is a call. */
export function summary(event, closing) {
  if (event.dropped !== undefined) return `(its ${event.dropped} bytes of data were dropped)`;
  if (event.long) return '(long: open the event to see it)';
  const { data } = event;
  const took = closing ? `, ${millis(Math.max(0, closing.timestamp - event.timestamp))}` : '';
  switch (kindOf(event)) {
    case 'call': {
      const request = isHttp(event) ? requestOf(event) : undefined;
      if (request) return `${brief(request.method)} ${brief(request.uri, 100)}${closing ? ` → ${outcome(closing)}${took}` : ''}${bodyOf(request, 200)}`;
      const end = closing && kindOf(closing) !== 'return' ? ` → ${outcome(closing)}` : '';
      return `${brief(data?.params?.length === 1 ? data.params[0] : data?.params)}${end}${took}`;
    }
    case 'return': {
      const status = isHttp(event) ? statusOf(event) : undefined;
      return status === undefined ? brief(data?.result ?? '') : `→ ${status}${bodyOf(data?.result?.response ?? data?.result, 100)}`;
    }
    case 'refused': return brief(data?.message ?? '');
    case 'failed': return `${data?.reason}: ${brief(data?.detail ?? '', 400)}`;
    case 'started': return `${brief(data?.name ?? '')}, incarnation ${data?.incarnation}, ${data?.reason}`;
    case 'stopped': return `by ${brief(data?.by ?? '')}`;
    case 'intent': return brief(data?.params);
    case 'host-call': return `${brief(data?.params)}${data?.result === null || data?.result === undefined ? '' : ` → ${brief(data.result, 100)}`}`;
    default: return brief(data);
  }
}

/** How bad an event is: `failed`, `refused`, or its kind. A request that was answered with an error counts as refused. */
export function severity(event, closing) {
  const end = closing && ['refused', 'failed'].includes(kindOf(closing)) ? kindOf(closing) : undefined;
  const status = statusOf(closing ?? event);
  if (end) return end;
  if (isHttp(event) && status >= 400) return status >= 500 ? 'failed' : 'refused';
  return kindOf(event);
}

/** A kind, with the colour that all views give it. */
export function chip(event) {
  return h('span', { class: `chip ${kindOf(event)}` }, visible(kindOf(event)));
}
