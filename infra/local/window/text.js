// The texts that are shown. Nothing here touches the page or the network.

/** An item's first attributes; the rest follows by name, and `details` last. */
const FIRST = [
  'status',
  'canceled_at',
  'updated_at',
  'cancellation',
  'amount',
  'currency',
  'created_at',
  'manual_cancellation',
  'pk',
];

/** Headers that clients add by themselves. */
const CLIENTS = new Set([
  'accept-encoding',
  'accept-language',
  'cache-control',
  'connection',
  'content-length',
  'dnt',
  'host',
  'origin',
  'pragma',
  'priority',
  'referer',
  'user-agent',
]);

/** Whether the request's author chose this header. */
export function own([name, value]) {
  return !CLIENTS.has(name) && !name.startsWith('sec-') && !(name === 'accept' && value === '*/*');
}

/** An amount for people; the item has the integer. */
export function money(item) {
  if (item?.amount === undefined) return '';
  const { amount, currency } = item;
  try {
    const format = new Intl.NumberFormat('en', {
      style: 'currency',
      currency,
      currencyDisplay: 'code',
    });
    return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch {
    return `${amount} ${currency ?? ''}`.trim();
  }
}

/**
 * JSON with white space between its tokens. The tokens stay as they were sent, which `JSON.parse`
 * would not leave them.
 */
export function indented(json) {
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

/** One argument of a shell command. */
const quoted = (word) => `'${word.replaceAll("'", String.raw`'\''`)}'`;

/**
 * The same request as a command: the same method, path, own headers (the Idempotency-Key and the
 * signature among them) and body.
 */
export function curl(origin, { method, path, headers, body }) {
  const lines = headers
    .filter(own)
    .map(([name, value]) =>
      value ? `-H ${quoted(`${name}: ${value}`)}` : `-H ${quoted(`${name};`)}`,
    );
  if (body) {
    // curl would add a content type of its own.
    if (!headers.some(([name]) => name === 'content-type')) lines.push("-H 'content-type:'");
    lines.push(`--data-raw ${quoted(body)}`);
  }
  return [`curl -i -X ${method} ${quoted(origin + path)}`, ...lines].join(' \\\n  ');
}

/** What a status means for the client. */
export function tone({ status, outcome }) {
  if (outcome === 'replayed' || outcome === 'already canceled') return 'info';
  if (status >= 500) return 'bad';
  if (status >= 400 || outcome !== 'canceled') return 'warn';
  return 'good';
}

/** The message of a provider's error envelope, flat or nested. */
export function message(body) {
  try {
    const json = JSON.parse(body);
    const error = json.error ?? json;
    return typeof error.message === 'string' && error.message !== error.code ? error.message : '';
  } catch {
    return '';
  }
}

/** What the store did for a request. */
export function attempts({ attempts }) {
  const all = attempts ?? [];
  if (all.length < 2 && !all.some(({ lost }) => lost)) return [];
  return all.map(({ status, lost }, at) => {
    const did = status === 200 ? 'wrote the cancel' : 'refused: it is not cancelable any more';
    return `Attempt ${at + 1}: DynamoDB ${did}${lost ? '; the response was lost' : ''}`;
  });
}

/** The outcome in a sentence: `before` and `item` are the payment around the request. */
export function verdict({ status, outcome }, before, item) {
  const changed = JSON.stringify(before) !== JSON.stringify(item);
  const became = `${before?.status} became ${item?.status}`;
  const rest = changed ? `The payment has changed since: ${became}.` : 'Nothing changed.';
  if (outcome === 'canceled') return changed ? `Canceled: ${became}.` : 'Canceled.';
  if (outcome === 'replayed')
    return `Replayed: the outcome of the first request with this key. ${rest}`;
  if (outcome === 'already canceled') return `Already canceled, so this is a success. ${rest}`;
  if (status >= 500)
    return 'Undecided: the payment may or may not be canceled. Retry with the same key.';
  return `Refused: ${outcome}. ${rest}`;
}

/** An item's attributes, those within a map each by itself. */
function attributes(item) {
  const flat = new Map();
  for (const [name, value] of Object.entries(item ?? {})) {
    const inner =
      value !== null && typeof value === 'object' && !Array.isArray(value)
        ? Object.entries(value)
        : [];
    if (inner.length)
      inner.forEach(([part, value]) => flat.set(`${name}.${part}`, JSON.stringify(value)));
    else flat.set(name, JSON.stringify(value));
  }
  return flat;
}

/** A string without its quotes. */
const plain = (json) => (json?.startsWith('"') ? JSON.parse(json) : json);

/** Each attribute before and after; undefined where there is none. */
export function compared(before, after) {
  const [was, is] = [attributes(before), attributes(after)];
  const rank = (name) => {
    const at = FIRST.indexOf(name.split('.')[0]);
    return at < 0 ? FIRST.length : at;
  };
  const names = [...new Set([...was.keys(), ...is.keys()])].sort(
    (a, b) => rank(a) - rank(b) || a.localeCompare(b),
  );
  return names.map((name) => ({
    name,
    was: plain(was.get(name)),
    is: plain(is.get(name)),
    changed: was.get(name) !== is.get(name),
  }));
}
