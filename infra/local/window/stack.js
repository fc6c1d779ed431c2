// What the page knows of the stack, and how it finds out.

/**
 * How long the page waits until it looks at the payments again, in milliseconds. A request is seen
 * at once.
 */
const INTERVAL = 1000;

/** How long it waits for the record of a request. */
const RECORDED_IN = 3000;

/** The providers, by name. */
export const providers = new Map();

/** Every payment by `provider/id`: what it is now, and what it was before it last changed. */
export const payments = new Map();

/** Every recorded request by its number. */
export const exchanges = new Map();

/** Whether the stack's own DynamoDB is behind it, in which it may change things. */
export const stack = { own: false, dynamodb: '' };

const listeners = { payments: [], changed: [], request: [], live: [] };

/**
 * Calls back when all `payments` were read, one has `changed`, a `request` has come, or the stack
 * is `live` or not.
 */
export function on(event, listener) {
  listeners[event].push(listener);
}

function emit(event, ...values) {
  for (const listener of listeners[event]) listener(...values);
}

/** Asks the stack itself, not an endpoint. */
export async function ask(path, body) {
  const response = await fetch(path, {
    method: body ? 'POST' : 'GET',
    cache: 'no-store',
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  if (response.ok) return response;
  const { message } = await response.json().catch(() => ({}));
  throw new Error(message ?? `${path} responded with ${response.status}`);
}

/**
 * Numbers the looks: one that began before another may come back after it, and is out of date then.
 */
let looks = 0;
let latest = 0;

/** Reads all payments. */
export async function look() {
  const number = ++looks;
  const response = await ask('/window/payments');
  const seen = await response.json();
  if (number < latest) return;
  latest = number;
  Object.assign(stack, { own: seen.own, dynamodb: seen.dynamodb });
  const keys = new Set();
  for (const { payments: found, ...provider } of seen.providers) {
    const known = providers.get(provider.name) ?? provider;
    providers.set(provider.name, known);
    known.order = found.map(({ id }) => `${provider.name}/${id}`);
    for (const { id, cancelable, item } of found) {
      const key = `${provider.name}/${id}`;
      keys.add(key);
      take(
        payments.get(key) ?? { id, key, provider: known, item, before: item, fresh: true },
        cancelable,
        item,
      );
    }
  }
  for (const key of payments.keys()) if (!keys.has(key)) payments.delete(key);
  emit('payments');
}

/**
 * Takes in what a look has found of a payment. While a request for it is on its way, what it was
 * before stays.
 */
function take(payment, cancelable, item) {
  const changed = !payment.fresh && JSON.stringify(item) !== JSON.stringify(payment.item);
  payments.set(payment.key, payment);
  if (changed && !payment.busy) payment.before = payment.item;
  Object.assign(payment, { item, cancelable, fresh: false });
  if (changed) emit('changed', payment);
}

let timer;

/** Looks again and again, for as long as the page is seen. */
export async function watch() {
  clearTimeout(timer);
  try {
    await look();
    emit('live', true, 'live');
  } catch (error) {
    emit(
      'live',
      false,
      error instanceof TypeError
        ? 'the stack does not respond; is it still running?'
        : error.message,
    );
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(watch, INTERVAL);
}

/** Hears of every request as it comes. A browser that was cut off goes on with the next one. */
export function listen() {
  const source = new EventSource('/window/requests');
  source.onmessage = ({ data }) => {
    const exchange = JSON.parse(data);
    exchanges.set(exchange.number, exchange);
    emit('request', exchange);
    for (const waiting of [...expected]) waiting(exchange);
    look().catch(() => {}); // The watch says that the stack is gone.
  };
}

const expected = new Set();

/** The record of the request with this id, or, without one, the next for that path. */
function recorded(id, path, after) {
  const right = (exchange) =>
    exchange.number > after &&
    (id
      ? exchange.response_headers.some(([name, value]) => name === 'x-request-id' && value === id)
      : exchange.path === path);
  const found = [...exchanges.values()].find(right);
  if (found) return Promise.resolve(found);
  return new Promise((resolve, reject) => {
    const timeout = setTimeout(
      () => done(reject, new Error('the stack has no record of it')),
      RECORDED_IN,
    );
    const waiting = (exchange) => right(exchange) && done(resolve, exchange);
    const done = (end, value) => {
      clearTimeout(timeout);
      expected.delete(waiting);
      end(value);
    };
    expected.add(waiting);
  });
}

/** Sends a request to an endpoint, as every other client does, and gets its record. */
export async function send({ method = 'POST', path, headers, body }) {
  const after = Math.max(0, ...exchanges.keys());
  const response = await fetch(path, {
    method,
    headers,
    body: body || undefined,
    cache: 'no-store',
    credentials: 'omit',
  });
  await response.text();
  return recorded(response.headers.get('x-request-id'), path, after);
}
