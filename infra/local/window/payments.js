// The list of payments: a group for each provider, a filter, and the arrow keys.

import { on, payments, providers } from '/window/stack.js';
import { money } from '/window/text.js';

const element = (id) => document.getElementById(id);

/** Each provider's group, and each payment's row, as they are in the page. */
const groups = new Map();
const rows = new Map();
let chosen;

/** A copy of a template's content. */
export function copyOf(template) {
  return element(template).content.firstElementChild.cloneNode(true);
}

/** A status chip. */
export function mark(chip, { item, cancelable, provider }) {
  chip.textContent = item?.status ?? 'not there';
  chip.classList.toggle('cancelable', cancelable);
  chip.classList.toggle('canceled', item?.status === provider.canceled);
}

function group(provider) {
  const made = copyOf('a-group');
  made.querySelector('.name').textContent = provider.name;
  made.querySelector('.route').textContent = `POST ${provider.route}`;
  groups.set(provider.name, made);
  element('groups').append(made);
  return made;
}

function row(payment) {
  const made = copyOf('a-payment');
  const link = made.querySelector('a');
  link.href = `#${payment.key}`;
  // A line may end after an underscore.
  made
    .querySelector('.id')
    .append(...payment.id.split(/(?<=_)/).flatMap((part) => [part, document.createElement('wbr')]));
  rows.set(payment.key, made);
  return made;
}

/** Brings the list up to date; what is there stays where it is. */
function show() {
  for (const [key, gone] of rows) {
    if (payments.has(key)) continue;
    gone.remove();
    rows.delete(key);
  }
  for (const provider of providers.values()) {
    const list = (groups.get(provider.name) ?? group(provider)).querySelector('ul');
    provider.order.forEach((key, at) => {
      const payment = payments.get(key);
      const made = rows.get(key) ?? row(payment);
      if (list.children[at] !== made) list.insertBefore(made, list.children[at] ?? null);
      made.querySelector('.amount').textContent = money(payment.item);
      mark(made.querySelector('.chip'), payment);
    });
  }
  filter();
}

/** Shows what the filter matches. */
function filter() {
  const words = element('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const provider of providers.values()) {
    let here = 0;
    for (const key of provider.order) {
      const { id, item } = payments.get(key);
      const text = `${provider.name} ${id} ${item?.status ?? ''} ${money(item)}`.toLowerCase();
      const matches = words.every((word) => text.includes(word));
      rows.get(key).hidden = !matches;
      here += matches;
    }
    const made = groups.get(provider.name);
    made.hidden = here === 0;
    made.querySelector('summary .note').textContent = here;
    shown += here;
  }
  element('none').hidden = shown > 0;
  reach();
}

const links = () =>
  [...rows.values()]
    .filter((made) => !made.hidden && made.closest('details').open)
    .map((made) => made.querySelector('a'));

/** One link of the list is in the Tab order: the chosen one, or the first that is shown. */
function reach() {
  for (const made of rows.values()) made.querySelector('a').tabIndex = -1;
  const all = ordered();
  const reached = all.find((link) => link.closest('li') === rows.get(chosen)) ?? all[0];
  if (reached) reached.tabIndex = 0;
}

/** In the order of the page, which is not that in which they were made. */
function ordered() {
  const shown = new Set(links());
  return [...element('groups').querySelectorAll('a')].filter((link) => shown.has(link));
}

/** Marks the payment that is shown beside the list. */
export function choose(key) {
  rows.get(chosen)?.querySelector('a').removeAttribute('aria-current');
  chosen = key;
  const link = rows.get(key)?.querySelector('a');
  link?.setAttribute('aria-current', 'true');
  link?.scrollIntoView({ block: 'nearest' });
  reach();
}

/** Puts the focus on a payment of the list; false where the list is not shown. */
export function focus(key) {
  const link = rows.get(key)?.querySelector('a');
  if (!link?.checkVisibility()) return false;
  link.focus();
  return true;
}

element('filter').addEventListener('input', filter);
element('filter').addEventListener('keydown', (event) => {
  if (event.key !== 'ArrowDown') return;
  event.preventDefault();
  ordered()[0]?.focus();
});
element('groups').addEventListener('toggle', reach, true);

/** The arrow keys go from payment to payment, across the groups. */
element('groups').addEventListener('keydown', (event) => {
  const all = ordered();
  const at = all.indexOf(document.activeElement);
  const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  if (at < 0 || !(event.key in steps)) return;
  event.preventDefault();
  const next = all[steps[event.key]];
  if (next) location.replace(next.href);
  next?.focus();
});

on('payments', show);
on('changed', ({ key }) => {
  const chip = rows.get(key)?.querySelector('.chip');
  if (!chip) return;
  chip.classList.remove('fresh');
  void chip.offsetWidth; // Restarts the animation.
  chip.classList.add('fresh');
});
