// The middle: one payment with what can be done to it, or one request as it came.

import { copyOf, mark } from '/window/payments.js';
import { ask, exchanges, look, on, payments, send, stack } from '/window/stack.js';
import {
  attempts,
  compared,
  curl,
  indented,
  message,
  money,
  own,
  tone,
  verdict,
} from '/window/text.js';

const element = (id) => document.getElementById(id);

/** The payment that is shown, and the request. */
let shown;
let opened;

// --- One exchange ---

const lines = (headers) => headers.map(([name, value]) => `${name}: ${value}`).join('\n');

/** Each card as it was made: what was opened in it stays open. */
const cards = new WeakMap();

/** A card of a request and its response, the response first. */
function card(exchange) {
  const known = cards.get(exchange);
  if (known) return known;
  const made = copyOf('a-card');
  cards.set(exchange, made);
  const part = (name) => made.querySelector(`.${name}`);
  const {
    method,
    path,
    headers,
    body,
    status,
    response_headers: back,
    response_body: said,
    outcome,
    milliseconds,
    whole,
  } = exchange;
  part('code').textContent = status;
  part('code').classList.add(tone(exchange));
  part('outcome').textContent = outcome;
  part('took').textContent = `${milliseconds} ms`;
  part('message').textContent = message(said);
  part('attempts').append(
    ...attempts(exchange).map((text) =>
      Object.assign(document.createElement('li'), { textContent: text }),
    ),
  );
  part('response').textContent = indented(said);
  part('response-headers').textContent = lines(back);
  part('request').textContent = [
    `${method} ${path}`,
    lines(headers.filter(own)),
    ...(body ? ['', indented(body)] : []),
  ]
    .filter((line) => line !== undefined)
    .join('\n');
  const others = headers.filter((header) => !own(header));
  part('request-more').querySelector('summary').textContent =
    `${others.length} headers that the client adds by itself`;
  part('request-more').hidden = !others.length;
  part('request-headers').textContent = lines(others);
  const note = part('actions').querySelector('.note');
  const [copy, again] = [part('copy'), part('again')];
  if (!whole) {
    for (const button of [copy, again]) button.setAttribute('aria-disabled', 'true');
    note.textContent = 'Not all of it was kept';
    return made;
  }
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(curl(location.origin, exchange));
      note.textContent = headers.some(([name]) => name === 'x-signature')
        ? 'Copied; its signature is good for five minutes'
        : 'Copied';
    } catch {
      note.textContent = 'The browser did not allow it';
    }
  });
  again.addEventListener('click', () => repeat(exchange));
  return made;
}

// --- One payment ---

/** Shows a payment, or none. */
export function showPayment(payment) {
  shown = payment;
  element('payment').hidden = !payment;
  if (!payment) return;
  describe();
  results();
  if (!payment.form) fill(payment);
  else restore(payment);
  statuses(payment);
}

/** The payment itself, and its item. */
function describe() {
  const { id, provider, item, last } = shown;
  element('title').textContent = id;
  mark(element('status'), shown);
  element('provider').textContent = provider.name;
  element('amount').textContent = money(item);
  element('person').hidden = item?.manual_cancellation !== true;
  element('retry').setAttribute('aria-disabled', String(!last));
  for (const part of document.querySelectorAll('.own')) part.hidden = !stack.own;
  compare();
}

/** The sentence about the last action, and its requests. */
function results() {
  const place = element('verdict');
  place.textContent = shown.verdict?.text ?? '';
  place.className = shown.verdict?.tone ?? '';
  element('results').replaceChildren(...(shown.results ?? []).map(card));
}

/** What the item's table shows: it is rebuilt for nothing else, so that a selection stays. */
let tabled;

/** The item, with what has changed marked and first. */
function compare() {
  const state = JSON.stringify([shown.key, shown.before, shown.item]);
  if (state === tabled) return;
  tabled = state;
  const all = compared(shown.before, shown.item);
  const changed = all.filter((attribute) => attribute.changed);
  const rows = [...changed, ...all.filter((attribute) => !attribute.changed)].map(
    ({ name, was, is, changed }) => {
      const row = document.createElement('tr');
      const head = document.createElement('th');
      head.scope = 'row';
      // A line may end after the dot.
      const [outer, ...inner] = name.split('.');
      head.append(
        outer,
        ...(inner.length ? ['.', document.createElement('wbr'), inner.join('.')] : []),
      );
      const cell = document.createElement('td');
      if (changed) {
        row.className = 'changed';
        for (const [tag, value] of [
          ['del', was],
          ['ins', is],
        ]) {
          if (value !== undefined)
            cell.append(Object.assign(document.createElement(tag), { textContent: value }));
        }
      } else {
        cell.textContent = is;
      }
      row.append(head, cell);
      return row;
    },
  );
  element('item').tBodies[0].replaceChildren(...rows);
  const count =
    changed.length === 1 ? '1 attribute changed' : `${changed.length} attributes changed`;
  element('changes-note').textContent = changed.length
    ? `before → after: ${count}`
    : 'as it is now';
}

/** The statuses that it can be set to: first those that a capture, a failure or an expiry sets. */
function statuses({ provider: { statuses, canceled }, item }) {
  const others = statuses.indexOf(canceled) + 1;
  const all = [...statuses.slice(others), ...statuses.slice(0, others)].filter(
    (status) => status !== item?.status,
  );
  element('statuses').replaceChildren(...all.map((status) => new Option(status)));
}

// --- The request to send ---

/** The name of the body's member that is a reason, where it has one. */
function reasonOf(body) {
  try {
    return Object.keys(JSON.parse(body)).find((name) => /reason$/.test(name));
  } catch {
    return undefined;
  }
}

/** What the request would be without any edit; what was edited wins. */
async function fill(payment) {
  payment.form = { key: '', body: undefined, credential: {} };
  try {
    const { headers, body } = await prepared(payment, '{key}');
    payment.form.plain = body;
    payment.form.headers = headers;
  } catch {
    payment.form = undefined; // The watch says that the stack is gone.
  }
  if (payment === shown && payment.form) restore(payment);
}

function restore({ form, provider }) {
  element('key').value = form.key;
  element('body').value = form.body ?? form.plain ?? '';
  reason();
  const fields = provider.credential.map((name) => {
    const field = document.createElement('label');
    const input = document.createElement('input');
    Object.assign(input, { autocomplete: 'off', spellcheck: false });
    input.value =
      form.credential[name] ?? (form.headers ?? []).find(([header]) => header === name)?.[1] ?? '';
    input.addEventListener('input', () => (form.credential[name] = input.value));
    field.append(`${name} `, input);
    return field;
  });
  element('credential').replaceChildren(...fields);
}

/** The reason is the body's. */
function reason() {
  const name = reasonOf(element('body').value);
  element('reason-field').hidden = !name;
  if (name) element('reason').value = JSON.parse(element('body').value)[name] ?? '';
}

/**
 * A request for the payment, signed by the stack if its provider requires it; `{key}` in an edited
 * body is the key.
 */
async function prepared({ id, provider, form }, key) {
  const body = form?.body?.replaceAll('{key}', key);
  const response = await ask('/window/prepare', {
    provider: provider.name,
    id,
    key,
    body,
    credential: form?.credential ?? {},
  });
  return response.json();
}

const newKey = () => crypto.randomUUID().replaceAll('-', '');

// --- Actions ---

/** Does something with a payment, and says what came of it. */
async function act(payment, saying, action) {
  if (payment.busy) return;
  const say = (text, kind = '') => {
    payment.verdict = { text, tone: kind };
    if (payment === shown) results();
  };
  payment.results = [];
  say(saying);
  let state = 'Not sent';
  try {
    await look();
    payment.busy = true;
    payment.before = payment.item;
    const sent = async (request) => {
      state = 'No response. The payment may or may not be canceled; retry with the same key';
      payment.last = request;
      const exchange = await send(request);
      payment.results.push(exchange);
      if (payment === shown) results();
      return exchange;
    };
    const summary = await action(sent);
    await look();
    const last = payment.results.at(-1);
    say(summary ?? verdict(last, payment.before, payment.item), tone(last));
  } catch (error) {
    say(`${state}: ${error.message}.`, 'bad');
  } finally {
    payment.busy = false;
    if (payment === shown) describe();
  }
}

const keyOf = (payment) => payment.form?.key || newKey();

function cancel(payment) {
  return act(
    payment,
    'Sending …',
    async (sent) => void (await sent(await prepared(payment, keyOf(payment)))),
  );
}

function retry(payment) {
  return act(payment, 'Sending the same again …', async (sent) => void (await sent(payment.last)));
}

/** Sends a recorded request again, byte for byte. */
function repeat(exchange) {
  const { method, path, headers, body, provider, payment: id } = exchange;
  const request = { method, path, headers: headers.filter(own), body };
  const payment = payments.get(`${provider}/${id}`);
  if (payment && payment === shown)
    return act(payment, 'Sending it again …', async (sent) => void (await sent(request)));
  const place = element('request-again');
  return send(request).then(
    (again) =>
      place.replaceChildren(
        Object.assign(document.createElement('h3'), { textContent: 'Sent again' }),
        card(again),
      ),
    (error) => (place.textContent = `No response: ${error.message}.`),
  );
}

/** Two cancels with a key each, on the way at the same time. */
function twice(payment) {
  return act(payment, 'Sending two at once …', async (sent) => {
    const requests = await Promise.all([prepared(payment, newKey()), prepared(payment, newKey())]);
    const both = await Promise.all(requests.map(sent));
    const made = both.filter(({ outcome }) => outcome === 'canceled').length;
    const { before, item } = payment;
    await look();
    if (before?.status === payment.item?.status || item === undefined)
      return 'Both are refused. Nothing changed.';
    const written =
      both[0].status === both[1].status
        ? 'Both get a success; it was written once.'
        : 'One cancels, and the other is refused.';
    return made ? `${written} ${before.status} became ${payment.item.status}.` : undefined;
  });
}

/**
 * The store writes and the function does not hear of it: once, or in every attempt, after which the
 * client retries.
 */
function lose(payment, which) {
  return act(payment, 'Losing the response …', async (sent) => {
    const request = await prepared(payment, keyOf(payment));
    await ask('/window/lose', { provider: payment.provider.name, id: payment.id, lose: which });
    const first = await sent(request);
    const lost = (first.attempts ?? []).some(({ status, lost }) => lost && status === 200);
    if (which === 'first') {
      return lost && first.status === 200
        ? 'The response was lost after the write. The second attempt was refused, and recognized its own cancel: canceled.'
        : undefined;
    }
    const second = await sent(request);
    return lost && second.outcome === 'replayed'
      ? 'Every response was lost, so the outcome was undecided. The retry with the same key got the outcome: canceled, once.'
      : undefined;
  });
}

// --- One request ---

/** Shows a recorded request, or none. */
export function showRequest(exchange) {
  if (exchange === opened && exchange) return;
  opened = exchange;
  element('request').hidden = !exchange;
  if (!exchange) return;
  const { number, at, method, path, provider, payment } = exchange;
  element('request-title').textContent = `${method} ${path}`;
  element('request-at').textContent = `Request ${number}, ${new Date(at).toLocaleString()}`;
  const link = element('request-payment');
  link.hidden = !payments.has(`${provider}/${payment}`);
  link.href = `#${provider}/${payment}`;
  link.textContent = payment ?? '';
  element('request-card').replaceChildren(card(exchange));
  element('request-again').replaceChildren();
}

element('cancel').addEventListener('click', () => cancel(shown));
element('retry').addEventListener('click', () => shown.last && retry(shown));
element('twice').addEventListener('click', () => twice(shown));
element('lose-first').addEventListener('click', () => lose(shown, 'first'));
element('lose-every').addEventListener('click', () => lose(shown, 'every'));
element('key').addEventListener('input', () => (shown.form.key = element('key').value.trim()));
element('body').addEventListener('input', () => {
  shown.form.body = element('body').value;
  reason();
});
element('reason').addEventListener('input', () => {
  const body = JSON.parse(element('body').value);
  body[reasonOf(element('body').value)] = element('reason').value;
  shown.form.body = element('body').value = JSON.stringify(body);
});
element('default').addEventListener('click', () => fill(shown));
element('move').addEventListener('submit', async (event) => {
  event.preventDefault();
  const payment = shown;
  const { id, provider, item } = payment;
  const to = element('statuses').value;
  try {
    await ask('/window/status', { provider: provider.name, id, from: item.status, to });
    payment.verdict = { text: `Set to ${to}, as another service would.`, tone: 'info' };
  } catch (error) {
    payment.verdict = { text: `Not set: ${error.message}.`, tone: 'bad' };
  }
  payment.results = [];
  await look().catch(() => {});
  if (payment === shown) results();
});

on('payments', () => shown && describe());
on('changed', (payment) => {
  if (payment === shown) statuses(payment);
});
