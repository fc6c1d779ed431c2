import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { createRequire } from 'node:module';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { PROVIDERS, bash, browse, demo, dynamodb, item, start } from './stack.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/**
 * What each provider's contract says of a cancel: its route, its word, and what a second one is
 * refused with.
 */
const CONTRACTS = {
  hyperswitch: { payment: 'pay_hs_requires_capture', path: (id) => `/payments/${id}/cancel`, canceled: 'cancelled', second: [400, 'IR_16'] },
  hedgepayments: { payment: 'pay_hedge_pending', path: (id) => `/v1/payments/${id}/cancel`, canceled: 'canceled', second: [412, 'payment_not_cancelable'] },
  // VTEX's protocol responds to a second cancel with the first cancellationId.
  vtex: { payment: 'VTEX_APPROVED', path: (id) => `/payments/${id}/cancellations`, canceled: 'cancelled', second: [200, null] },
  walletconnect: { payment: 'pay_wcp_requires_action', path: (id) => `/v1/gateway/payment/${id}/cancel`, canceled: 'cancelled', second: [400, 'invalid_state'] },
  one2pays: {
    payment: '550e8400-e29b-41d4-a716-446655440000',
    path: (id) => `/api/v1/payments/${id}/cancel`,
    canceled: 'canceled',
    second: [400, 'VALIDATION_ERROR'],
  },
};

const HYPERSWITCH = { 'api-key': 'snd_demo', 'content-type': 'application/json' };

let browser, stack, page, requested, logged;

before(async () => {
  browser = await browse('rebound.test');
});

after(() => browser.close());

beforeEach(async () => {
  stack = await start();
  [requested, logged] = [[], []];
  page = await open();
});

afterEach(async () => {
  await page.context().close();
  await stack.stop();
  // Of every test: the browser was led nowhere else, and had nothing to complain of.
  assert.deepEqual(requested.filter((url) => new URL(url).origin !== stack.url), []);
  assert.deepEqual(logged, []);
});

/** A page in a new browser. Its requests and its log go to the lists. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('request', (request) => requested.push(request.url()));
  page.on('pageerror', (error) => logged.push(error.message));
  page.on('console', (message) => {
    // The browser itself logs each response of 400 and above, refused cancels included.
    const refused = message.text().startsWith('Failed to load resource') && /\/(cancel(lations)?|nothing|window\/(status|payments))$/.test(message.location().url);
    if (!refused) logged.push(`${message.type()}: ${message.text()} ${message.location().url}`);
  });
  return page;
}

async function show(hash = '') {
  await page.goto('about:blank');
  await page.goto(`${stack.url}/${hash && `#${hash}`}`);
  await page.locator('.payment').first().waitFor({ state: 'attached' });
  await becomes('#live', 'live');
}

const text = (selector) => page.locator(selector).innerText();

/** The text of an element, once it is that. */
async function becomes(selector, expected) {
  const of = page.locator(selector);
  await page.waitForFunction(
    ([selector, expected]) => new RegExp(expected).test(document.querySelector(selector).textContent),
    [selector, expected.source ?? `^${expected}$`],
  ).catch(async () => assert.match(await of.innerText(), expected instanceof RegExp ? expected : new RegExp(`^${expected}$`)));
}

const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute('href') || document.activeElement.tagName);

/** Presses a key until the focus is there, in vain after so many times. */
async function press(key, target, most) {
  for (let times = 0; times <= most; times += 1) {
    if ((await focused()) === target) return;
    await page.keyboard.press(key);
  }
  assert.fail(`${key} does not lead to ${target} but to ${await focused()}`);
}

/** The attributes that are marked as changed: name, before, after. */
const changes = () =>
  page.locator('#item tr.changed').evaluateAll((rows) =>
    rows.map((row) => ['th', 'del', 'ins'].map((tag) => row.querySelector(tag)?.textContent ?? null)),
  );

/** Each card's status, outcome and attempts. */
const cards = (within = '#results') =>
  page.locator(`${within} .card`).evaluateAll((cards) =>
    cards.map((card) => [
      Number(card.querySelector('.code').textContent),
      card.querySelector('.outcome').textContent,
      [...card.querySelectorAll('.attempts li')].map(({ textContent }) => textContent),
    ]),
  );

/**
 * The newest requests in the live list: status, payment or path, and the rest without the time it
 * took.
 */
const listed = (count) =>
  page.locator('#list li').evaluateAll(
    (rows, count) =>
      rows.slice(0, count).map((row) => [
        Number(row.querySelector('.code').textContent),
        row.querySelector('.what').textContent,
        row.querySelector('.said').textContent.replace(/ · \d+ ms$/, ''),
      ]),
    count,
  );

/** A request or response as it is shown: its first line, headers and body. */
function parsed(text) {
  const [head, ...body] = text.split('\n\n');
  const [first, ...lines] = head.split('\n');
  return { first, headers: Object.fromEntries(lines.map((line) => line.match(/^([^:]+): (.*)$/).slice(1))), body: body.join('\n\n') };
}

const shownRequest = async () => parsed(await text('#results .card >> nth=-1 >> .request'));

/** Sends a request as a client on the same machine does. */
const send = (path, headers, body) => fetch(stack.url + path, { method: 'POST', headers, body });

/** Every recorded request, as the page gets them. */
async function recorded() {
  const aborted = new AbortController();
  const response = await fetch(`${stack.url}/window/requests`, { signal: aborted.signal });
  const { value } = await response.body.getReader().read();
  aborted.abort();
  return new TextDecoder().decode(value).split('\n').filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)));
}

test('every demo payment is shown with its amount and status, in a group for its provider', async () => {
  await show();
  const rows = await page.locator('.group').evaluateAll((groups) =>
    groups.map((group) => [
      group.querySelector('.name').textContent,
      [...group.querySelectorAll('.payment')].map((row) => [row.querySelector('.id').textContent, row.querySelector('.chip').textContent]),
    ]),
  );
  const expected = PROVIDERS.map((provider) => [provider, [...demo(provider).payments].map(([id, { status }]) => [id, status])]);
  assert.deepEqual(rows, expected);
  const amounts = await page.locator('.payment .amount').allTextContents();
  assert.ok(amounts.includes('USD\u00a065.40') && amounts.includes('THB\u00a01,000.00'), amounts.join());
});

test('a filter leaves what it matches', async () => {
  await show();
  await page.keyboard.press('/');
  assert.equal(await focused(), 'filter');
  await page.keyboard.type('vtex appr');
  const shown = () => page.locator('.payment:visible .id').allTextContents();
  assert.deepEqual(await shown(), ['VTEX_APPROVED', 'VTEX_APPROVED_2', 'VTEX_APPROVED_3', 'VTEX_MANUAL']);
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(), '#vtex/VTEX_APPROVED');
  await page.fill('#filter', 'nothing like it');
  assert.deepEqual(await shown(), []);
  assert.ok(await page.isVisible('#none'));
});

for (const [provider, { payment, path, canceled, second }] of Object.entries(CONTRACTS)) {
  test(`a payment of ${provider} is canceled by keyboard, replayed, and then refused`, async () => {
    const { status, pk, updated_at } = demo(provider).payments.get(payment);
    await show();
    await page.focus('#filter');
    await press('Tab', '#hyperswitch/pay_hs_requires_capture', 3);
    await press('ArrowDown', `#${provider}/${payment}`, 60);
    await page.keyboard.press('Enter');
    await press('Tab', 'cancel', 2);
    assert.equal(await text('#title'), payment);
    assert.equal(await text('#status'), status);
    assert.deepEqual(await changes(), []);

    const sending = page.waitForRequest(`**${path(payment)}`);
    await page.keyboard.press('Enter');
    await becomes('#verdict', `Canceled: ${status} became ${canceled}.`);
    assert.equal(await text('#status'), canceled);
    const stored = await item(stack, pk);
    assert.equal(stored.status.S, canceled);
    const cancellation = Object.entries(stored.cancellation.M).sort().map(([name, { S }]) => [`cancellation.${name}`, null, S]);
    assert.deepEqual(await changes(), [
      ['status', status, canceled],
      ['canceled_at', null, stored.canceled_at.S],
      ['updated_at', updated_at, stored.updated_at.S],
      ...cancellation,
    ]);

    // What is shown is what the browser sent and got; its own headers are folded away.
    const sent = await sending;
    const request = await shownRequest();
    assert.equal(request.first, `POST ${path(payment)}`);
    const all = await sent.allHeaders();
    for (const [name, value] of Object.entries(request.headers)) assert.equal(all[name], value);
    for (const header of demo(provider).cancel.headers) {
      const [name, value] = header.toLowerCase().split(': ');
      if (!value.includes('{')) assert.equal(request.headers[name]?.toLowerCase(), value, header);
    }
    assert.ok(!('user-agent' in request.headers) && !('sec-fetch-site' in request.headers));
    assert.equal(request.body && JSON.stringify(JSON.parse(request.body)), sent.postData() ? JSON.stringify(JSON.parse(sent.postData())) : '');
    const body = await (await sent.response()).text();
    assert.deepEqual(JSON.parse(await text('#results .response')), JSON.parse(body));

    // The same once more: the first response, and nothing changes.
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'retry');
    await page.keyboard.press('Enter');
    await becomes('#verdict', /^Replayed: .* Nothing changed\.$/);
    assert.deepEqual(await cards(), [[200, 'replayed', []]]);
    assert.deepEqual(JSON.parse(await text('#results .response')), JSON.parse(body));
    assert.equal((await shownRequest()).headers['idempotency-key'], request.headers['idempotency-key']);
    assert.deepEqual(await changes(), []);

    // Another cancel of the canceled payment.
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    const [http, code] = second;
    await becomes('#verdict', code ? `Refused: ${code}. Nothing changed.` : /^Already canceled, .* Nothing changed\.$/);
    assert.deepEqual(await cards(), [[http, code ?? 'already canceled', []]]);
    if (code) assert.ok((await text('#results .message')).length > 10);
    assert.deepEqual(await item(stack, pk), stored);
  });
}

test('the response is above the fold', async () => {
  await show('hyperswitch/pay_hs_requires_capture');
  await page.click('#cancel');
  await becomes('#verdict', /^Canceled/);
  for (const part of ['.code', '.outcome', '.took', '.response']) {
    const { y, height } = await page.locator(`#results ${part}`).boundingBox();
    assert.ok(y + Math.min(height, 200) < 900, `${part} ends at ${y + height}`);
  }
});

test('every request is listed as it comes, of other clients too, refused ones too', async () => {
  await show('hyperswitch/pay_hs_requires_capture');
  assert.equal((await send('/payments/pay_hs_requires_capture/cancel', HYPERSWITCH, '{}')).status, 200);
  await becomes('#status', 'cancelled');
  await becomes('#news', /pay_hs_requires_capture is now cancelled$/);
  assert.deepEqual((await changes())[0], ['status', 'requires_capture', 'cancelled']);
  await send('/payments/pay_hs_succeeded/cancel', HYPERSWITCH, '{}');
  await send('/payments/pay_hs_failed/cancel', { ...HYPERSWITCH, 'api-key': 'wrong' }, '{}');
  await send('/nothing', {}, '');
  await becomes('#count', '4');
  assert.deepEqual(await listed(4), [
    [404, 'POST /nothing', 'not found'],
    [401, 'pay_hs_failed', 'hyperswitch · IR_01'],
    [400, 'pay_hs_succeeded', 'hyperswitch · IR_16'],
    [200, 'pay_hs_requires_capture', 'hyperswitch · canceled'],
  ]);
});

test('a listed request is opened and sent again', async () => {
  await send('/payments/pay_hs_requires_capture/cancel', { ...HYPERSWITCH, 'idempotency-key': 'K1', 'x-own': 'yes' }, '{"cancellation_reason":"fraud"}');
  await show();
  await page.click('#list a');
  await becomes('#request-title', 'POST /payments/pay_hs_requires_capture/cancel');
  assert.equal(await focused(), 'request-title');
  const shown = parsed(await text('#request-card .request'));
  assert.deepEqual(shown.headers, { ...HYPERSWITCH, 'idempotency-key': 'K1', 'x-own': 'yes' });
  await page.click('#request-card .again');
  await page.locator('#request-again .card').waitFor();
  assert.deepEqual(await cards('#request-again'), [[200, 'replayed', []]]);
  const [first, again] = await recorded();
  assert.equal(again.body, first.body);
  for (const name of ['api-key', 'idempotency-key', 'x-own', 'content-type']) {
    const of = ({ headers }) => headers.filter(([header]) => header === name);
    assert.deepEqual(of(again), of(first));
  }
  // Esc leads back to where one was.
  await page.keyboard.press('Escape');
  assert.match(await focused(), /^#request\//);
  await page.click('#request-payment');
  await becomes('#title', 'pay_hs_requires_capture');
});

test('a credential that is not a published one is neither kept nor sent again', async () => {
  await send('/v1/payments/pay_hedge_pending/cancel', { authorization: 'Bearer sk_live_1' }, '');
  await send('/payments/pay_hs_failed/cancel', { 'api-key': 'live_2' }, '');
  await send('/nothing', { 'x-vtex-api-apptoken': 'live_3', cookie: 'live_4' }, '');
  const kept = JSON.stringify(await recorded());
  assert.ok(!kept.includes('live_'), kept);
  await show();
  await page.click('#list a');
  assert.equal(await page.getAttribute('#request-card .again', 'aria-disabled'), 'true');
  for (const name of ['again', 'copy']) await page.dispatchEvent(`#request-card .${name}`, 'click');
  await becomes('#count', '3');
});

test('a copied command is the same request', async () => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  for (const [provider, { payment }] of Object.entries(CONTRACTS)) {
    await show(`${provider}/${payment}`);
    await page.click('#cancel');
    await becomes('#verdict', /^Canceled/);
    await page.click('#results .copy');
    await becomes('#results .actions .note', /^Copied/);
    const output = bash(await page.evaluate(() => navigator.clipboard.readText()));
    assert.match(output, /^HTTP\/1.1 200 OK\r\n[^]*idempotent-replayed: true/);
    const [sent, pasted] = (await recorded()).slice(-2);
    const clients = ['host', 'connection', 'content-length', 'user-agent', 'accept', 'accept-encoding', 'accept-language', 'origin', 'referer', 'pragma', 'cache-control'];
    const own = ({ headers }) => Object.fromEntries(headers.filter(([name]) => !clients.includes(name) && !name.startsWith('sec-')));
    assert.deepEqual(own(pasted), own(sent));
    assert.ok(own(sent)['idempotency-key']);
    for (const part of ['method', 'path', 'body']) assert.equal(pasted[part], sent[part]);
  }
});

test('reason, body, key and credential can be edited', async () => {
  await show('hyperswitch/pay_hs_requires_capture');
  await page.click('#edit summary');
  await page.fill('#credential input', 'wrong');
  await page.click('#cancel');
  await becomes('#verdict', /^Refused: IR_01/);
  await page.click('#default');
  await page.waitForFunction(() => document.querySelector('#credential input').value === 'snd_demo');
  await page.fill('#key', 'my key');
  await page.fill('#reason', 'a "fraud"');
  assert.equal(await page.inputValue('#body'), '{"cancellation_reason":"a \\"fraud\\""}');
  await page.click('#cancel');
  await becomes('#verdict', /^Refused: IR_0/);
  await page.fill('#key', 'my-key');
  await page.click('#cancel');
  await becomes('#verdict', /^Canceled/);
  const { cancellation } = await item(stack, 'hyperswitch#m_demo#pay_hs_requires_capture');
  assert.equal(cancellation.M.reason.S, 'a "fraud"');
  assert.ok(cancellation.M.token.S.endsWith('my-key'));
  await page.fill('#body', '{"cancellation_reason":');
  await page.click('#cancel');
  await becomes('#verdict', /^Refused: IR_06/);
  // A signed one is signed with its body.
  await show('one2pays/550e8400-e29b-41d4-a716-446655440001');
  await page.click('#edit summary');
  await page.fill('#body', '{"any":1}');
  await page.click('#cancel');
  await becomes('#verdict', /^Canceled/);
  assert.equal((await recorded()).at(-1).body, '{"any":1}');
});

test('of two at once one cancels', async () => {
  await show('hyperswitch/pay_hs_requires_capture');
  await page.click('#twice');
  await becomes('#verdict', 'One cancels, and the other is refused. requires_capture became cancelled.');
  const both = (await cards()).map(([status, outcome]) => [status, outcome]).sort();
  assert.deepEqual(both, [[200, 'canceled'], [400, 'IR_16']]);
  const keys = (await recorded()).map(({ headers }) => headers.find(([name]) => name === 'idempotency-key')[1]);
  assert.equal(new Set(keys).size, 2);
});

test('a lost response is found out by the second attempt', async () => {
  await show('hedgepayments/pay_hedge_pending');
  await page.click('#lose-first');
  await becomes('#verdict', /recognized its own cancel/);
  assert.deepEqual(await cards(), [
    [200, 'canceled', ['Attempt 1: DynamoDB wrote the cancel; the response was lost', 'Attempt 2: DynamoDB refused: it is not cancelable any more']],
  ]);
  assert.equal((await item(stack, 'hedgepayments#m_demo#pay_hedge_pending')).status.S, 'canceled');
  // The next request loses nothing.
  await show('hedgepayments/pay_hedge_initiated');
  await page.click('#cancel');
  await becomes('#verdict', /^Canceled/);
  assert.deepEqual(await cards(), [[200, 'canceled', []]]);
});

test('every response is lost, and the retry with the same key gets the outcome', async () => {
  await show('vtex/VTEX_APPROVED');
  await page.click('#lose-every');
  await becomes('#verdict', /The retry with the same key got the outcome: canceled, once\.$/);
  const [lost, retried] = await cards();
  assert.ok(lost[0] >= 500, lost[0]);
  assert.ok(lost[2].length > 1 && lost[2].every((attempt) => attempt.endsWith('the response was lost')), lost[2].join());
  assert.deepEqual(retried, [200, 'replayed', []]);
  const [one, two] = await recorded();
  const key = ({ headers }) => headers.find(([name]) => name === 'idempotency-key')[1];
  assert.equal(key(one), key(two));
  assert.equal((await changes())[0].join(), 'status,approved,cancelled');
});

test('a payment is created, set as a capture would, and refused', async () => {
  await show();
  await page.click('#new');
  await page.selectOption('#create-provider', 'hyperswitch');
  await page.fill('#create-amount', '123456');
  await page.fill('#create-currency', 'jpy');
  const id = await page.inputValue('#create-id');
  await page.click('#create-done');
  await becomes('#title', id);
  assert.equal(await text('#amount'), 'JPY\u00a0123,456');
  assert.equal(await page.locator('.payment .id').first().textContent(), id);
  await page.selectOption('#statuses', 'succeeded');
  await page.click('#move button');
  await becomes('#status', 'succeeded');
  await becomes('#verdict', 'Set to succeeded, as another service would.');
  await page.click('#cancel');
  await becomes('#verdict', 'Refused: IR_16. Nothing changed.');
  // Another one with that id is refused with a message.
  await page.click('#new');
  await page.selectOption('#create-provider', 'hyperswitch');
  await page.fill('#create-id', id);
  await page.click('#create-done');
  await becomes('#create-fault', `there is a payment ${id} of hyperswitch already`);
  await page.keyboard.press('Escape');
  assert.equal(await page.isVisible('#create'), false);
});

test('a status that has moved meanwhile is not set', async () => {
  await show('hedgepayments/pay_hedge_pending');
  await page.route('**/window/status', async (route) => {
    await send('/v1/payments/pay_hedge_pending/cancel', { authorization: 'Bearer sk_test_demo' }, '');
    await route.continue();
  });
  await page.selectOption('#statuses', 'succeeded');
  await page.click('#move button');
  await becomes('#verdict', 'Not set: pay_hedge_pending is not pending any more; its status was not changed.');
  assert.equal((await item(stack, 'hedgepayments#m_demo#pay_hedge_pending')).status.S, 'canceled');
});

test('unknown attempts are not shown', async () => {
  const cancel = '**/payments/pay_hedge_pending/cancel';
  const pk = 'hedgepayments#m_demo#pay_hedge_pending';
  await show('hedgepayments/pay_hedge_pending');
  await page.route('**/window/prepare', (route) => route.abort());
  await page.click('#cancel');
  await becomes('#verdict', /^Not sent: /);
  await page.unroute('**/window/prepare');
  await page.route(cancel, (route) => route.abort());
  await page.click('#cancel');
  await becomes('#verdict', /^No response\. The payment may or may not be canceled/);
  await page.unroute(cancel);
  logged = logged.filter((line) => !line.includes('net::ERR_FAILED'));
  assert.equal((await item(stack, pk)).status.S, 'pending');
  // A capture that comes between: the refusal is not taken for a cancel, nor what has changed for
  // its work.
  await page.route(cancel, async (route) => {
    const Item = { ...(await item(stack, pk)), status: { S: 'succeeded' } };
    await dynamodb(stack, 'PutItem', { TableName: 'payments', Item });
    await route.continue();
  });
  await page.click('#cancel');
  await becomes('#verdict', 'Refused: payment_not_cancelable. The payment has changed since: pending became succeeded.');
});

test('the demo data can be put back', async () => {
  await show('vtex/VTEX_APPROVED');
  await page.click('#cancel');
  await becomes('#status', 'cancelled');
  await page.click('#reset');
  await becomes('#status', 'approved');
  await becomes('#news', /as they were/);
  assert.deepEqual(await changes(), []);
  assert.equal((await item(stack, 'vtex#m_demo#VTEX_APPROVED')).cancellation, undefined);
  await page.click('#cancel');
  await becomes('#verdict', 'Canceled: approved became cancelled.');
});

test('over another DynamoDB only the demo payments are shown, and nothing is changed', async () => {
  const other = { pk: { S: 'hyperswitch#m_demo#pay_1' }, status: { S: 'requires_capture' } };
  await dynamodb(stack, 'PutItem', { TableName: 'payments', Item: other });
  const owner = stack;
  stack = await start(['--port', '0', '--endpoint-url', owner.dynamodb]);
  try {
    await show('vtex/VTEX_APPROVED');
    await page.click('#cancel');
    await becomes('#status', 'cancelled');
    for (const id of ['reset', 'new', 'move', 'lose-first', 'lose-every']) assert.equal(await page.isVisible(`#${id}`), false, id);
    const listed = await (await fetch(`${stack.url}/window/payments`)).text();
    assert.ok(!listed.includes('pay_1'), listed);
    const payment = { id: 'x', status: 'approved' };
    for (const [path, body] of [
      ['reset', {}],
      ['payments', { provider: 'vtex', payment }],
      ['status', { provider: 'vtex', id: 'VTEX_DENIED', from: 'denied', to: 'approved' }],
      ['lose', { provider: 'vtex', id: 'VTEX_DENIED', lose: 'first' }],
    ]) {
      const refused = await send(`/window/${path}`, { 'content-type': 'application/json' }, JSON.stringify(body));
      assert.equal(refused.status, 403, path);
    }
    assert.equal((await item(stack, 'vtex#m_demo#VTEX_APPROVED')).status.S, 'cancelled');
  } finally {
    await owner.stop();
  }
});

test('a stack that is gone is reported', async () => {
  await show();
  await stack.stop();
  await becomes('#live', /does not respond/);
  logged = logged.filter((line) => !/ERR_(CONNECTION|INCOMPLETE)/.test(line));
  // Whatever else the page says of it goes on until it is closed.
  await page.context().close();
  logged = logged.filter((line) => !/ERR_(CONNECTION|INCOMPLETE)/.test(line));
});

test('a web page of another origin can neither read nor cancel', async () => {
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>elsewhere</title>'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await show('vtex/VTEX_APPROVED');
  await page.click('#cancel');
  await becomes('#status', 'cancelled');
  const elsewhere = await open();
  try {
    await elsewhere.goto(`http://127.0.0.1:${server.address().port}/`);
    const outcomes = await elsewhere.evaluate(
      async ([url, dynamodb, headers]) => {
        const tried = (path, options) => fetch(url + path, options).then((response) => response.type, () => 'blocked');
        const cancel = '/payments/pay_hs_requires_capture/cancel';
        return [
          await tried('/window/payments'),
          await tried('/window/requests'),
          await tried(cancel, { method: 'POST', headers, body: '{}' }),
          await tried('/window/payments', { mode: 'no-cors' }),
          // Sent, refused, and the refusal cannot be read.
          await tried('/window/reset', { method: 'POST', mode: 'no-cors' }),
          // The DynamoDB's own port neither.
          await fetch(dynamodb, { method: 'POST', mode: 'cors' }).then((response) => response.type, () => 'blocked'),
        ];
      },
      [stack.url, stack.dynamodb, HYPERSWITCH],
    );
    assert.deepEqual(outcomes, ['blocked', 'blocked', 'blocked', 'blocked', 'opaque', 'blocked']);
    // Nor can it be put into a frame and clicked.
    await elsewhere.setContent(`<iframe src="${stack.url}/"></iframe>`);
    await elsewhere.waitForTimeout(500);
    const [, frame] = elsewhere.frames();
    assert.equal(await frame.locator('#payments').count(), 0);
  } finally {
    await elsewhere.context().close();
    server.close();
  }
  [requested, logged] = [[], []]; // All of it was of the other page.
  assert.equal((await item(stack, 'vtex#m_demo#VTEX_APPROVED')).status.S, 'cancelled');
  assert.equal((await item(stack, 'hyperswitch#m_demo#pay_hs_requires_capture')).status.S, 'requires_capture');
});

test('a name that is made to point at this machine opens nothing', async () => {
  const rebound = await open();
  try {
    const opened = await rebound.goto(`http://rebound.test:${stack.port}/`);
    assert.equal(opened.status(), 403);
    const statuses = await rebound.evaluate(async (headers) => {
      const cancel = { method: 'POST', headers, body: '{}' };
      const paths = [['/window/payments'], ['/window/reset', { method: 'POST' }], ['/payments/pay_hs_requires_capture/cancel', cancel]];
      return Promise.all(paths.map(([path, options]) => fetch(path, options).then(({ status }) => status)));
    }, HYPERSWITCH);
    assert.deepEqual(statuses, [403, 403, 403]);
  } finally {
    await rebound.context().close();
  }
  [requested, logged] = [[], []];
  assert.equal((await item(stack, 'hyperswitch#m_demo#pay_hs_requires_capture')).status.S, 'requires_capture');
});

test('every other client is served under whatever name it has for this machine', async () => {
  const path = '/payments/pay_hs_requires_capture/cancel';
  const options = { port: stack.port, path, method: 'POST', headers: { ...HYPERSWITCH, host: 'host.docker.internal:9000' } };
  const request = httpRequest(options).end('{}');
  const [response] = await once(request, 'response');
  assert.equal(response.statusCode, 200);
  response.resume();
});

for (const [colorScheme, width] of [['light', 1440], ['dark', 1440], ['light', 1100], ['light', 400], ['dark', 320]]) {
  test(`the page can be used in ${colorScheme} at ${width} pixels`, async () => {
    await page.context().close();
    page = await open({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    await page.emulateMedia({ reducedMotion: 'reduce' });
    for (const hash of ['', 'one2pays/550e8400-e29b-41d4-a716-446655440000', 'hyperswitch/pay_hs_requires_capture']) {
      await show(hash);
      if (hash) {
        await page.click('#edit summary');
        await page.click('#lose-every');
        await becomes('#verdict', /canceled, once/);
        for (const summary of await page.locator('#results summary:visible').all()) await summary.click();
      }
      await fits(`${colorScheme} ${width} ${hash}`);
    }
    await page.goto(`${stack.url}/#request/1`);
    await page.locator('#request-card .card').waitFor();
    await fits('a request');
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const [red] = ground.match(/\d+/g).map(Number);
    assert.equal(red > 128, colorScheme === 'light', ground);
    if (width < 900) {
      // One or the other; Esc leads back to where one was.
      assert.equal(await page.isVisible('nav'), false);
      await page.keyboard.press('Escape');
      await page.locator('nav').waitFor();
      assert.equal(await focused(), '#request/1');
      assert.equal(await page.isVisible('#request'), false);
      await page.click('#new');
      await fits('a new payment');
    } else {
      await page.goto(`${stack.url}/#hyperswitch/pay_hs_requires_capture`);
      await page.focus('#cancel');
      await page.keyboard.press('Escape');
      assert.equal(await focused(), '#hyperswitch/pay_hs_requires_capture');
    }
  });
}

/** Nothing is wider than the window, and nothing is wrong that axe can see. */
async function fits(what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${what}: ${wide} pixels too wide`);
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]), [], what);
  assert.ok(passes.some(({ id }) => id === 'color-contrast'));
}

test('whatever has the focus shows it, and everything can have it', async () => {
  await show('hyperswitch/pay_hs_requires_capture');
  await page.click('#cancel');
  await becomes('#verdict', /^Canceled/);
  await page.click('#edit summary');
  await page.evaluate(() => document.activeElement.blur());
  const seen = new Set();
  for (let times = 0; times < 60; times += 1) {
    await page.keyboard.press('Tab');
    const [name, outline] = await page.evaluate(() => {
      const { activeElement } = document;
      const style = getComputedStyle(activeElement);
      const outlined = style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
      return [activeElement === document.body ? 'BODY' : activeElement.id || activeElement.className || activeElement.tagName, outlined];
    });
    // Once around: the first Tab goes on from where the focus was.
    if (name === 'BODY') continue;
    assert.ok(outline, `${name} has the focus and does not show it`);
    seen.add(name);
  }
  const expected = ['reset', 'new', 'filter', 'A', 'cancel', 'retry', 'statuses', 'twice', 'lose-first', 'lose-every', 'key', 'reason', 'body', 'response', 'request', 'copy', 'again'];
  for (const name of expected) assert.ok(seen.has(name), `${name} is not among ${[...seen]}`);
});
