// The live list: every request that reaches the stack, the newest first.

import { copyOf } from '/window/payments.js';
import { exchanges, on } from '/window/stack.js';
import { tone } from '/window/text.js';

const element = (id) => document.getElementById(id);

/** As many as the stack keeps. */
const SHOWN = 200;

function add(exchange) {
  const { number, at, provider, payment, method, path, status, outcome, milliseconds } = exchange;
  const made = copyOf('a-request');
  made.dataset.number = number;
  made.querySelector('a').href = `#request/${number}`;
  const code = made.querySelector('.code');
  code.textContent = status;
  code.classList.add(tone(exchange));
  made.querySelector('.what').textContent = payment ?? `${method} ${path}`;
  made.querySelector('.said').textContent = [provider, outcome, `${milliseconds} ms`]
    .filter(Boolean)
    .join(' · ');
  made.querySelector('.when').textContent = new Date(at).toLocaleTimeString();
  const list = element('list');
  list.prepend(made);
  while (list.children.length > SHOWN) {
    exchanges.delete(Number(list.lastElementChild.dataset.number));
    list.lastElementChild.remove();
  }
  element('count').textContent = list.children.length;
  element('quiet').hidden = true;
}

/** Marks the request that is shown beside the list. */
export function choose(number) {
  for (const link of element('list').querySelectorAll('a')) {
    if (link.hash === `#request/${number}`) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  }
}

on('request', add);
