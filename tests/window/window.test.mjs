import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { createRequire } from 'node:module';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { PROVIDERS, browse, demo, dynamodb, item, start } from './stack.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What each provider's contract says of a cancel: its route, its word, and what a second one is refused with. */
const CONTRACTS = {
  hyperswitch: { payment: 'pay_hs_requires_capture', path: (id) => `/payments/${id}/cancel`, canceled: 'cancelled', second: [400, 'IR_16'] },
  hedgepayments: { payment: 'pay_hedge_pending', path: (id) => `/v1/payments/${id}/cancel`, canceled: 'canceled', second: [412, 'payment_not_cancelable'] },
  // VTEX's protocol answers a second cancel with the first one's cancellationId.
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

let browser, stack, page, asked, said;

before(async () => {
  browser = await browse('rebound.test');
});

after(() => browser.close());

beforeEach(async () => {
  stack = await start();
  [asked, said] = [[], []];
  page = await open();
});

afterEach(async () => {
  await page.context().close();
  await stack.stop();
  // Of every test: the browser was led nowhere else, and had nothing to complain of.
  assert.deepEqual(asked.filter((url) => new URL(url).origin !== stack.url), []);
  assert.deepEqual(said, []);
});

/** A page of a browser of its own. What it asks for and says goes to the lists. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('request', (request) => asked.push(request.url()));
  page.on('pageerror', (error) => said.push(error.message));
  page.on('console', (message) => {
    // The browser itself notes each answer of 400 and above, the refused cancels among them.
    const refused = message.text().startsWith('Failed to load resource') && /\/cancel(lations)?$/.test(message.location().url);
    if (!refused) said.push(`${message.type()}: ${message.text()} ${message.location().url}`);
  });
  return page;
}

async function show(hash = '') {
  await page.goto('about:blank');
  await page.goto(`${stack.url}/${hash && `#${hash}`}`);
  await page.locator('nav tbody tr').first().waitFor({ state: 'attached' });
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

/** A request's or an answer's first line, headers and body, as shown without indentation. */
async function exchanged(id) {
  const [head, ...body] = (await text(id)).split('\n\n');
  const [first, ...lines] = head.split('\n');
  return { first, headers: Object.fromEntries(lines.map((line) => line.match(/^([^:]+): (.*)$/).slice(1))), body: body.join('\n\n') };
}

test('every demo payment is shown with its status', async () => {
  await show();
  const rows = await page.locator('nav table').evaluateAll((tables) =>
    tables.map((table) => [
      table.querySelector('.name').textContent,
      [...table.querySelectorAll('tbody tr')].map((row) => [row.querySelector('a').textContent, row.querySelector('.chip').textContent]),
    ]),
  );
  const expected = PROVIDERS.map((provider) => [provider, [...demo(provider).payments].map(([id, { status }]) => [id, status])]);
  assert.deepEqual(rows, expected);
  await becomes('#live', 'live');
});

for (const [provider, { payment, path, canceled, second }] of Object.entries(CONTRACTS)) {
  test(`a payment of ${provider} is canceled by keyboard, replayed, and then refused`, async () => {
    const { status, pk, updated_at } = demo(provider).payments.get(payment);
    await show();
    await press('Tab', '#hyperswitch/pay_hs_requires_capture', 3);
    await press('ArrowDown', `#${provider}/${payment}`, 60);
    await page.keyboard.press('Enter');
    await press('Tab', 'cancel', 2);
    assert.equal(await text('#title'), payment);
    assert.equal(await text('#status'), status);
    assert.deepEqual(await changes(), []);
    const preview = await exchanged('#request');
    assert.equal(preview.first, `POST ${path(payment)} HTTP/1.1`);

    const sending = page.waitForRequest(`**${path(payment)}`);
    await page.keyboard.press('Enter');
    await becomes('#outcome', `Answered with 200. Canceled: ${status} became ${canceled}.`);
    assert.equal(await text('#status'), canceled);
    assert.equal(await text('nav tr.chosen .chip'), canceled);
    const stored = await item(stack, pk);
    assert.equal(stored.status.S, canceled);
    const cancellation = Object.entries(stored.cancellation.M).sort().map(([name, { S }]) => [`cancellation.${name}`, null, S]);
    assert.deepEqual(await changes(), [
      ['status', status, canceled],
      ['canceled_at', null, stored.canceled_at.S],
      ['updated_at', updated_at, stored.updated_at.S],
      ...cancellation,
    ]);

    // The request that is shown is the one that the browser sent, and the answer the one that it got.
    await page.uncheck('#indent');
    const sent = await sending;
    const request = await exchanged('#request');
    assert.equal(request.first, `POST ${path(payment)} HTTP/1.1`);
    assert.deepEqual(request.headers, await sent.allHeaders());
    assert.equal(request.body, sent.postData() ?? '');
    for (const header of demo(provider).cancel.headers) {
      const [name, value] = header.toLowerCase().split(': ');
      assert.ok(request.headers[name], header);
      if (!value.includes('{')) assert.equal(request.headers[name].toLowerCase(), value);
    }
    const response = await sent.response();
    const answer = await exchanged('#answer');
    assert.equal(answer.first, 'HTTP/1.1 200 OK');
    assert.deepEqual(answer.headers, await response.allHeaders());
    assert.equal(answer.body, await response.text());
    await page.check('#indent');
    const indented = (await exchanged('#answer')).body;
    assert.ok(indented.includes('\n  "'), indented);
    assert.deepEqual(JSON.parse(indented), JSON.parse(answer.body));
    await page.uncheck('#indent');

    // The same once more: the first answer's bytes, and nothing changes.
    await page.focus('#cancel');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await becomes('#outcome', 'Answered with 200. Replayed: .*; nothing changed.');
    const replay = await exchanged('#answer');
    assert.equal(replay.headers['idempotent-replayed'], 'true');
    assert.equal(replay.body, answer.body);
    assert.equal((await exchanged('#request')).headers['idempotency-key'], request.headers['idempotency-key']);
    assert.deepEqual(await changes(), []);

    // Another cancel of the canceled payment.
    await page.keyboard.press('Shift+Tab');
    assert.equal(await text('#cancel'), 'Cancel again');
    await page.keyboard.press('Enter');
    const [http, code] = second;
    await becomes('#outcome', `Answered with ${http}. (Refused; n|N)othing changed.`);
    const refusal = await exchanged('#answer');
    const body = JSON.parse(refusal.body);
    assert.equal((body.error ?? body).code, code);
    if (code === null) assert.equal(body.cancellationId, JSON.parse(answer.body).cancellationId);
    assert.deepEqual(await changes(), []);
    assert.deepEqual(await item(stack, pk), stored);
  });
}

test('a payment that is not cancelable is refused', async () => {
  await show('hedgepayments/pay_hedge_succeeded');
  await page.click('#cancel');
  await becomes('#outcome', 'Answered with 412. Refused; nothing changed.');
  assert.equal(await text('#status'), 'succeeded');
});

test('what is not known is not said', async () => {
  const cancel = '**/payments/pay_hedge_pending/cancel';
  const pk = 'hedgepayments#m_demo#pay_hedge_pending';
  await show('hedgepayments/pay_hedge_pending');
  await page.route('**/window/requests/**', (route) => route.abort());
  await page.click('#cancel');
  await becomes('#outcome', /^Not sent: /);
  await page.unroute('**/window/requests/**');
  await page.route(cancel, (route) => route.abort());
  await page.click('#cancel');
  await becomes('#outcome', /^No answer\. The payment may or may not be canceled/);
  await page.unroute(cancel);
  said = said.filter((line) => !line.includes('net::ERR_FAILED'));
  assert.equal((await item(stack, pk)).status.S, 'pending');
  // A capture that comes between: the refusal is not taken for a cancel, nor what has changed for its work.
  await page.route(cancel, async (route) => {
    const Item = { ...(await item(stack, pk)), status: { S: 'succeeded' } };
    await dynamodb(stack, 'PutItem', { TableName: 'payments', Item });
    await route.continue();
  });
  await page.click('#cancel');
  await becomes('#outcome', 'Answered with 412. Refused; meanwhile the item has changed: pending became succeeded.');
});

test('what another client cancels is seen without a reload', async () => {
  await show('hyperswitch/pay_hs_requires_capture');
  await becomes('#status', 'requires_capture');
  await page.evaluate(() => (window.notReloaded = true));
  const cancel = (id) => fetch(`${stack.url}/payments/${id}/cancel`, { method: 'POST', headers: HYPERSWITCH, body: '{}' });
  assert.equal((await cancel('pay_hs_requires_capture')).status, 200);
  await becomes('#status', 'cancelled');
  await becomes('#news', /pay_hs_requires_capture is now cancelled$/);
  assert.deepEqual((await changes())[0], ['status', 'requires_capture', 'cancelled']);
  // And one that is not looked at.
  assert.equal((await cancel('pay_hs_requires_confirmation')).status, 200);
  await becomes('nav tr:has(a[href="#hyperswitch/pay_hs_requires_confirmation"]) .chip', 'cancelled');
  assert.equal(await page.evaluate(() => window.notReloaded), true);
  // Theirs is not shown: it may hold a secret.
  assert.match(await text('#request-note'), /not sent yet/);
});

test('the printed command is shown, and is what it is in the terminal', async () => {
  await show('hyperswitch/pay_hs_requires_capture');
  await page.click('summary');
  await becomes('#command', /^curl .*\/payments\/pay_hs_requires_capture\/cancel/);
  assert.match(await text('#command'), /-H 'api-key: snd_demo'/);
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
  await becomes('#outcome', 'Answered with 200. Canceled: approved became cancelled.');
});

test('over another DynamoDB only the demo payments are shown, and nothing is put back', async () => {
  const foreign = { pk: { S: 'hyperswitch#m_1#pay_1' }, status: { S: 'requires_capture' } };
  await dynamodb(stack, 'PutItem', { TableName: 'payments', Item: foreign });
  const owner = stack;
  stack = await start(['--port', '0', '--endpoint-url', owner.dynamodb]);
  try {
    await show('vtex/VTEX_APPROVED');
    await page.click('#cancel');
    await becomes('#status', 'cancelled');
    assert.equal(await page.isVisible('#reset'), false);
    const told = await (await fetch(`${stack.url}/window/payments`)).text();
    assert.ok(!told.includes('pay_1'), told);
    const reset = await fetch(`${stack.url}/window/reset`, { method: 'POST' });
    assert.equal(reset.status, 403);
    assert.equal((await item(stack, 'vtex#m_demo#VTEX_APPROVED')).status.S, 'cancelled');
  } finally {
    await owner.stop();
  }
});

test('a tool that is gone is told', async () => {
  await show();
  await becomes('#live', 'live');
  await stack.stop();
  await becomes('#live', /does not answer/);
  said = said.filter((line) => !line.includes('ERR_CONNECTION_REFUSED'));
  // Whatever else the page says of it goes on until it is closed.
  await page.context().close();
  said = said.filter((line) => !line.includes('ERR_CONNECTION_'));
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
      async ([url, headers]) => {
        const tried = (path, options) => fetch(url + path, options).then((response) => response.type, () => 'blocked');
        const cancel = '/payments/pay_hs_requires_capture/cancel';
        return [
          await tried('/window/payments'),
          await tried('/window/requests/one2pays/550e8400-e29b-41d4-a716-446655440000'),
          await tried(cancel, { method: 'POST', headers, body: '{}' }),
          await tried('/window/payments', { mode: 'no-cors' }),
          // Sent, refused, and the refusal cannot be read.
          await tried('/window/reset', { method: 'POST', mode: 'no-cors' }),
        ];
      },
      [stack.url, HYPERSWITCH],
    );
    assert.deepEqual(outcomes, ['blocked', 'blocked', 'blocked', 'blocked', 'opaque']);
    // Nor can it be put into a frame and clicked.
    await elsewhere.setContent(`<iframe src="${stack.url}/"></iframe>`);
    await elsewhere.waitForTimeout(500);
    const [, frame] = elsewhere.frames();
    assert.equal(await frame.locator('#payments').count(), 0);
  } finally {
    await elsewhere.context().close();
    server.close();
  }
  [asked, said] = [[], []]; // All of it was of the other page.
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
  [asked, said] = [[], []];
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

test('the page can be used in light, in dark and on a phone', async () => {
  const grounds = new Set();
  for (const [colorScheme, width] of [['light', 1440], ['dark', 1440], ['light', 1100], ['light', 390], ['dark', 320]]) {
    await page.context().close();
    page = await open({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    for (const hash of ['', 'one2pays/550e8400-e29b-41d4-a716-446655440000', 'hyperswitch/pay_hs_requires_capture']) {
      await show(hash);
      if (hash) {
        await page.click('#cancel');
        await becomes('#outcome', /^Answered/);
        await page.click('summary');
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${colorScheme} ${width} ${hash}: ${wide} pixels too wide`);
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]), []);
      assert.ok(passes.some(({ id }) => id === 'color-contrast'));
    }
    grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    if (width < 960) {
      // One or the other; Esc leads back to where one was.
      assert.equal(await page.isVisible('nav'), false);
      await page.keyboard.press('Escape');
      await page.locator('nav').waitFor();
      assert.equal(await focused(), '#hyperswitch/pay_hs_requires_capture');
      assert.equal(await page.isVisible('#payment'), false);
    } else {
      await page.focus('#cancel');
      await page.keyboard.press('Escape');
      assert.equal(await focused(), '#hyperswitch/pay_hs_requires_capture');
    }
  }
  assert.equal(grounds.size, 2);
});

test('whatever has the focus shows it', async () => {
  await show();
  const seen = new Set();
  for (let times = 0; times < 12; times += 1) {
    await page.keyboard.press('Tab');
    const [name, outline] = await page.evaluate(() => {
      const { activeElement } = document;
      const styles = [getComputedStyle(activeElement), getComputedStyle(activeElement, '::after')];
      const outlined = styles.some((style) => style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2);
      return [activeElement.id || activeElement.tagName, outlined];
    });
    if (name === 'BODY') break;
    assert.ok(outline, `${name} has the focus and does not show it`);
    seen.add(name);
    // On to the payment.
    if (name === 'A') {
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.activeElement.id === 'title');
    }
  }
  for (const name of ['reset', 'A', 'cancel', 'repeat', 'indent', 'request', 'answer', 'SUMMARY']) assert.ok(seen.has(name), name);
});
