// The page of the one-machine stack: shows the demo payments, and cancels them through the URLs that every other client uses.

const element = (id) => document.getElementById(id);

/** How long the page waits until it looks again, in milliseconds. */
const INTERVAL = 1000;

/** What comes first of an item; the rest follows by name, and `details` last. */
const FIRST = ['status', 'canceled_at', 'updated_at', 'cancellation', 'amount', 'currency', 'created_at', 'manual_cancellation', 'pk'];

/** Every payment by `provider/id`: what the tool said of it, and what has become of it since. */
const payments = new Map();

/** The payment that is shown. */
let chosen;

// --- What the tool says ---

async function ask(path, options) {
  const response = await fetch(path, { cache: 'no-store', ...options });
  if (response.ok) return response;
  const { message } = await response.json().catch(() => ({}));
  throw new Error(message ?? `${path} was answered with ${response.status}`);
}

/** Numbers the looks into the table: one that began before another may come back after it, and is then out of date. */
let looks = 0;

/** Reads all payments. */
async function look() {
  const number = ++looks;
  const response = await ask('/window/payments');
  const { dynamodb, resettable, providers } = await response.json();
  const first = !payments.size;
  if (first) show(providers);
  element('where').textContent = `Five payment APIs on ${location.host}, over the DynamoDB on ${dynamodb.replace(/^https?:\/\//, '')}`;
  element('reset').hidden = !resettable;
  for (const provider of providers) {
    for (const { id, cancelable, item } of provider.payments) {
      take(payments.get(`${provider.name}/${id}`), { number, cancelable, item });
    }
  }
  if (first) choose();
}

/** Takes in what a look has found of a payment. */
function take(payment, { number, cancelable, item }) {
  if (!payment || number < payment.number || payment.held) return;
  payment.number = number;
  const known = payment.item !== undefined;
  if (known && JSON.stringify(item) === JSON.stringify(payment.item)) return;
  payment.before = known ? payment.item : item;
  Object.assign(payment, { item, cancelable });
  mark(payment.chip, payment);
  if (known) {
    for (const chip of [payment.chip, element('status')]) freshen(chip);
    element('news').textContent = `${new Date().toLocaleTimeString()} ${payment.id} is now ${word(payment)}`;
  }
  if (payment === chosen) describe();
}

const word = ({ item }) => item?.status ?? 'not there';

/** A status chip. */
function mark(chip, payment) {
  chip.textContent = word(payment);
  chip.classList.toggle('cancelable', payment.cancelable);
  chip.classList.toggle('canceled', payment.item?.status === payment.provider.canceled);
}

function freshen(chip) {
  chip.classList.remove('fresh');
  void chip.offsetWidth; // Starts the animation anew.
  chip.classList.add('fresh');
}

let timer;

/** Looks once a second, for as long as the page is seen. */
async function watch() {
  clearTimeout(timer);
  try {
    await look();
    live(true, 'live');
  } catch (error) {
    live(false, error instanceof TypeError ? 'the tool does not answer; is it still running?' : error.message);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(watch, INTERVAL);
}

function live(on, text) {
  const place = element('live');
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle('on', on);
  place.classList.toggle('off', !on);
}

// --- The list ---

function copyOf(template) {
  return element(template).content.firstElementChild.cloneNode(true);
}

/** Makes the list, once: which demo payments there are does not change. */
function show(providers) {
  for (const provider of providers) {
    const table = copyOf('a-provider');
    table.querySelector('.name').textContent = provider.name;
    table.querySelector('.route').textContent = `POST ${provider.route}`;
    for (const { id } of provider.payments) {
      const row = copyOf('a-payment');
      const link = row.querySelector('a');
      const key = `${provider.name}/${id}`;
      link.href = `#${key}`;
      // A line may end after an underscore.
      link.append(...id.split(/(?<=_)/).flatMap((part) => [part, document.createElement('wbr')]));
      payments.set(key, { id, key, provider, row, link, chip: row.querySelector('.chip'), number: 0 });
      table.tBodies[0].append(row);
    }
    element('payments').append(table);
  }
}

/** Shows the payment that the address names. One link of the list is in the Tab order: the chosen one, or the first. */
function choose() {
  if (chosen) {
    chosen.row.classList.remove('chosen');
    chosen.link.removeAttribute('aria-current');
  }
  for (const { link } of payments.values()) link.tabIndex = -1;
  chosen = payments.get(decodeURIComponent(location.hash.slice(1)));
  const [first] = payments.values();
  const reached = chosen ?? first;
  if (reached) reached.link.tabIndex = 0;
  document.body.classList.toggle('one', Boolean(chosen));
  element('intro').hidden = Boolean(chosen);
  element('payment').hidden = !chosen;
  if (!chosen) return;
  chosen.row.classList.add('chosen');
  chosen.link.setAttribute('aria-current', 'true');
  chosen.link.scrollIntoView({ block: 'nearest' });
  describe();
  preview(chosen);
}

/** The arrow keys go from payment to payment, across the tables. */
function move(event) {
  const all = [...payments.values()];
  const at = all.findIndex(({ link }) => link === document.activeElement);
  const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  const next = all[steps[event.key]];
  if (at < 0 || !(event.key in steps)) return;
  event.preventDefault();
  if (!next) return;
  history.replaceState(null, '', next.link.href);
  choose();
  next.link.focus();
}

// --- One payment ---

/** Everything about the chosen payment. */
function describe() {
  const { id, provider, item, exchange } = chosen;
  element('title').textContent = id;
  mark(element('status'), chosen);
  element('provider').textContent = provider.name;
  element('amount').textContent = item ? amount(item) : '';
  element('person').hidden = item?.manual_cancellation !== true;
  element('cancel').textContent = item?.status === provider.canceled ? 'Cancel again' : 'Cancel';
  element('repeat').setAttribute('aria-disabled', String(!exchange));
  element('outcome').textContent = chosen.outcome ?? '';
  write('request', chosen.request);
  element('request-note').textContent = exchange ? 'as received; faint: the browser’s own' : 'not sent yet';
  write('answer', exchange?.answer);
  element('answer-note').textContent = exchange ? `after ${exchange.took} ms` : 'none yet';
  compare();
  element('command').textContent = chosen.command ?? '';
}

/** The amount for people; the item's own integer stands in the item. */
function amount({ amount, currency }) {
  try {
    const format = new Intl.NumberFormat('en', { style: 'currency', currency, currencyDisplay: 'code' });
    return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch {
    return `${amount} ${currency}`;
  }
}

/** A request or an answer: its first line, its header lines, and its body as it is or indented. Of a request, `own` are the headers that are not the browser's. */
function write(id, message) {
  const place = element(id);
  place.replaceChildren();
  if (!message) return;
  const { start, headers, body, own } = message;
  const lines = headers.map((line) => {
    const faint = own && !own.has(line.slice(0, line.indexOf(':')).toLowerCase());
    return span(faint ? 'faint' : '', `\n${line}`);
  });
  place.append(span('start', start), ...lines, `\n\n${element('indent').checked ? indented(body) : body}`);
}

function span(className, text) {
  const span = document.createElement('span');
  span.className = className;
  span.textContent = text;
  return span;
}

/** JSON with white space between its tokens. The tokens stay as they were sent, which `JSON.parse` would not leave them. */
function indented(json) {
  try {
    JSON.parse(json);
  } catch {
    return json;
  }
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  return tokens
    .map((token, at) => {
      const empty = /^[{[]$/.test(tokens[at - 1]) && /^[}\]]$/.test(token);
      if (token === ',') return `,${line()}`;
      if (token === ':') return ': ';
      if (/^[{[]$/.test(token)) {
        depth += 1;
        return /^[}\]]$/.test(tokens[at + 1]) ? token : token + line();
      }
      if (/^[}\]]$/.test(token)) {
        depth -= 1;
        return empty ? token : line() + token;
      }
      return token;
    })
    .join('');
}

/** An item's attributes, those within a map each by itself. */
function attributes(item) {
  const flat = new Map();
  for (const [name, value] of Object.entries(item ?? {})) {
    const inner = value !== null && typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : [];
    if (inner.length) inner.forEach(([part, value]) => flat.set(`${name}.${part}`, JSON.stringify(value)));
    else flat.set(name, JSON.stringify(value));
  }
  return flat;
}

/** The item, with what has changed marked. */
function compare() {
  const [before, after] = [attributes(chosen.before), attributes(chosen.item)];
  const rank = (name) => {
    const at = FIRST.indexOf(name.split('.')[0]);
    return at < 0 ? FIRST.length : at;
  };
  const names = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  let changed = 0;
  const rows = names.map((name) => {
    const row = document.createElement('tr');
    const head = document.createElement('th');
    head.scope = 'row';
    // A line may end after the dot.
    const [outer, ...inner] = name.split('.');
    head.append(outer, ...(inner.length ? ['.', document.createElement('wbr'), inner.join('.')] : []));
    const cell = document.createElement('td');
    const [was, is] = [before.get(name), after.get(name)];
    if (was === is) {
      cell.textContent = plain(is);
    } else {
      changed += 1;
      row.className = 'changed';
      for (const [tag, value] of [['del', was], ['ins', is]]) {
        if (value === undefined) continue;
        const part = document.createElement(tag);
        part.textContent = plain(value);
        cell.append(part);
      }
    }
    row.append(head, cell);
    return row;
  });
  element('item').tBodies[0].replaceChildren(...rows);
  const attributesChanged = changed === 1 ? '1 attribute changed' : `${changed} attributes changed`;
  element('item-note').textContent = changed ? `before → after: ${attributesChanged}` : chosen.exchange ? 'before = after: nothing changed' : 'as it is now';
}

/** A string without its quotes. */
const plain = (json) => (json.startsWith('"') ? JSON.parse(json) : json);

// --- A cancel ---

/** What will be sent, as the tool has it from the provider's demo file: with the last request's key, or a new one. */
async function prepared(payment, key) {
  const response = await ask(`/window/requests/${payment.key}${key ? `?key=${key}` : ''}`);
  return response.json();
}

/** Shows what a cancel would send. */
async function preview(payment) {
  if (payment.request) return;
  try {
    const { path, headers, body, command } = await prepared(payment);
    payment.command = command;
    if (payment.exchange) return;
    payment.request = { start: `POST ${path} HTTP/1.1`, headers: headers.map((pair) => pair.join(': ')), body };
    if (payment === chosen) describe();
  } catch {
    // The watch says that the tool is gone.
  }
}

/** Cancels the payment through its provider's API, with a new Idempotency-Key or a given one. */
async function send(payment, key) {
  if (payment.held) return;
  say(payment, 'Sending …');
  // What can be said if it goes no further.
  let state = 'Not sent';
  try {
    await look();
    const before = payment.item;
    // Nothing else tells what became of the item until the answer is there.
    payment.held = true;
    const request = await prepared(payment, key);
    state = 'No answer. The payment may or may not be canceled, and the same request is safe to repeat';
    const began = performance.now();
    const response = await fetch(request.path, {
      method: 'POST',
      headers: request.headers,
      body: request.body || undefined,
      cache: 'no-store',
      credentials: 'omit',
    });
    const body = await response.text();
    const took = Math.round(performance.now() - began);
    state = `Answered with ${response.status}, but what became of the item is not known`;
    const headers = [...response.headers].map((pair) => pair.join(': '));
    const start = `HTTP/1.1 ${response.status} ${response.statusText}`.trimEnd();
    payment.exchange = { key: request.key, took, answer: { start, headers, body } };
    const sent = await ask(`/window/sent/${response.headers.get('x-request-id')}`);
    const own = new Set(request.headers.map(([name]) => name.toLowerCase()));
    payment.request = { ...parsed(await sent.text()), own };
    payment.held = false;
    await look();
    payment.before = before;
    payment.outcome = outcome(payment, response);
  } catch (error) {
    payment.outcome = `${state}: ${error.message}.`;
  } finally {
    payment.held = false;
    if (payment === chosen) describe();
  }
}

function say(payment, text) {
  payment.outcome = text;
  if (payment === chosen) element('outcome').textContent = text;
}

/** A request's first line, its header lines and its body. */
function parsed(request) {
  const end = request.indexOf('\r\n\r\n');
  const [start, ...headers] = request.slice(0, end).split('\r\n');
  return { start, headers, body: request.slice(end + 4) };
}

/** What came of a request, in a sentence. The item says by the key whose cancel it was. */
function outcome({ before, item, provider, exchange }, response) {
  const { status, ok } = response;
  const answered = `Answered with ${status}.`;
  const became = `${before?.status} became ${item?.status}`;
  const changed = JSON.stringify(before) !== JSON.stringify(item);
  if (ok && changed && item?.status === provider.canceled && item.cancellation?.token === exchange.key) return `${answered} Canceled: ${became}.`;
  const rest = changed ? `meanwhile the item has changed: ${became}` : 'nothing changed';
  if (response.headers.get('idempotent-replayed')) return `${answered} Replayed: the answer of the first request once more; ${rest}.`;
  if (status >= 500) return `${answered} Undecided or a fault; ${rest}. The same request is safe to repeat.`;
  if (status >= 400) return `${answered} Refused; ${rest}.`;
  return `${answered} ${rest[0].toUpperCase()}${rest.slice(1)}.`;
}

// --- What a person does ---

element('payments').addEventListener('keydown', move);
element('payments').addEventListener('click', ({ target }) => {
  // The chosen one again, by Enter or by hand: the address does not change, and the payment is where to go on.
  if (target.closest('a') === chosen?.link) element('title').focus();
});
window.addEventListener('hashchange', () => {
  const left = chosen;
  choose();
  if (chosen) element('title').focus();
  else left?.link.focus();
});
document.addEventListener('keydown', ({ key }) => {
  if (key !== 'Escape' || !chosen) return;
  // On a phone's width the list is not there beside the payment.
  if (chosen.link.checkVisibility()) chosen.link.focus();
  else location.hash = '';
});
element('cancel').addEventListener('click', () => send(chosen));
element('repeat').addEventListener('click', () => {
  if (chosen.exchange) send(chosen, chosen.exchange.key);
});
element('indent').addEventListener('change', describe);
element('reset').addEventListener('click', async () => {
  try {
    await ask('/window/reset', { method: 'POST' });
    for (const payment of payments.values()) {
      Object.assign(payment, { exchange: undefined, request: undefined, outcome: undefined });
    }
    await look();
    element('news').textContent = 'The demo data are as they were at first';
    for (const payment of payments.values()) payment.before = payment.item;
    if (chosen) {
      describe();
      preview(chosen);
    }
  } catch (error) {
    element('news').textContent = `Not reset: ${error.message}`;
  }
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) watch();
});
watch();
