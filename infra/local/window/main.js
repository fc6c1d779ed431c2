// The page of the one-machine stack: what is shown follows the address, and the keys work
// everywhere.

import { showPayment, showRequest } from '/window/detail.js';
import { choose as choosePayment, focus } from '/window/payments.js';
import { choose as chooseRequest } from '/window/requests.js';
import {
  ask,
  exchanges,
  listen,
  look,
  on,
  payments,
  providers,
  stack,
  watch,
} from '/window/stack.js';

const element = (id) => document.getElementById(id);

// --- What is shown ---

const address = () => decodeURIComponent(location.hash.slice(1));

/** Shows what the address names: a payment, a request, or neither. */
function route() {
  const at = address();
  const [, number] = at.match(/^request\/(\d+)$/) ?? [];
  const exchange = exchanges.get(Number(number));
  const payment = payments.get(at);
  showPayment(payment);
  showRequest(exchange);
  choosePayment(payment?.key);
  chooseRequest(number);
  element('intro').hidden = Boolean(payment ?? exchange);
  document.body.classList.toggle('one', Boolean(payment ?? exchange));
  return payment ? 'title' : exchange ? 'request-title' : undefined;
}

/** The last payment or request that was shown, to come back to. */
let left;

/** The address that Enter has shown. Its event comes later, and must not move the focus back. */
let entered;

window.addEventListener('hashchange', ({ oldURL }) => {
  left = decodeURIComponent(new URL(oldURL).hash.slice(1));
  if (address() === entered) return;
  entered = undefined;
  const title = route();
  // The arrow keys stay in the list.
  if (document.activeElement?.closest('#groups') && payments.has(address())) return;
  if (title) element(title).focus();
  else back(left);
});

/** Puts the focus where it was before something was opened. */
function back(key) {
  if (focus(key)) return;
  const number = key?.match(/^request\/(\d+)$/)?.[1];
  element('list').querySelector(`[data-number="${number}"] a`)?.focus();
}

// --- Keys ---

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest('input, textarea, select, dialog');
  if (event.key === 'Escape' && !event.target.closest('dialog')) {
    if (event.target === element('filter')) element('filter').blur();
    // On a phone's width the lists are not there beside what is shown.
    const at = address();
    if (at && !focus(at)) {
      if (at.startsWith('request/') && element('list').checkVisibility()) back(at);
      else location.hash = '';
    }
  }
  if (event.key === '/' && !typing && element('filter').checkVisibility()) {
    event.preventDefault();
    element('filter').focus();
  }
});
element('groups').addEventListener('click', ({ target }) => {
  // The chosen one again: the address does not change, and the payment is where to go on.
  if (target.closest('a')?.hash === location.hash) element('title').focus();
});
element('groups').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !event.target.closest('a')) return;
  event.preventDefault();
  const { hash } = event.target.closest('a');
  if (hash !== location.hash) location.replace(hash);
  entered = address();
  route();
  element('title').focus();
});

// --- New payments, and the demo data ---

/** An id as the provider's are: a UUID, or a word and digits. */
function newId(name) {
  const uuid = crypto.randomUUID();
  const [first] = providers.get(name).order;
  return /\/[0-9a-f]{8}-/.test(first) ? uuid : `pay_${uuid.slice(0, 8)}`;
}

function choices() {
  const name = element('create-provider').value;
  element('create-status').replaceChildren(
    ...providers.get(name).statuses.map((status) => new Option(status)),
  );
  element('create-id').value = newId(name);
}

element('new').addEventListener('click', () => {
  const chosen = payments.get(address())?.provider.name;
  element('create-provider').replaceChildren(
    ...[...providers.keys()].map((name) => new Option(name, name, false, name === chosen)),
  );
  choices();
  element('create-fault').textContent = '';
  element('create').showModal();
});
element('create-provider').addEventListener('change', choices);
element('create-close').addEventListener('click', () => element('create').close());
element('create')
  .querySelector('form')
  .addEventListener('submit', async (event) => {
    event.preventDefault();
    const value = (name) => element(`create-${name}`).value.trim();
    const payment = {
      id: value('id'),
      status: value('status'),
      amount: Number(value('amount')),
      currency: value('currency').toUpperCase(),
    };
    try {
      await ask('/window/payments', { provider: value('provider'), payment });
      await look();
      element('create').close();
      location.hash = `${value('provider')}/${payment.id}`;
    } catch (error) {
      element('create-fault').textContent = error.message;
    }
  });

element('reset').addEventListener('click', async () => {
  try {
    await ask('/window/reset', {});
    await look();
    for (const payment of payments.values()) {
      Object.assign(payment, {
        before: payment.item,
        last: undefined,
        results: [],
        verdict: undefined,
      });
    }
    element('news').textContent = 'The demo data are as they were at first';
    showPayment(payments.get(address()));
  } catch (error) {
    element('news').textContent = `Not reset: ${error.message}`;
  }
});

// --- What happens ---

on('payments', () => {
  element('where').textContent =
    `${location.host} · DynamoDB ${stack.dynamodb.replace(/^https?:\/\//, '')}`;
  for (const id of ['reset', 'new']) element(id).hidden = !stack.own;
  if (address() && element('intro').hidden === false) route();
});
on('request', () => {
  if (address().startsWith('request/')) route();
});
on('changed', ({ id, item }) => {
  element('news').textContent =
    `${new Date().toLocaleTimeString()} ${id} is now ${item?.status ?? 'not there'}`;
});
on('live', (well, text) => {
  const place = element('live');
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle('on', well);
  place.classList.toggle('off', !well);
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) watch();
});
listen();
watch();
