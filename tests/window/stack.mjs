// The real one-machine stack and a real browser, for the tests and the screenshot.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const LIST = readFileSync(`${ROOT}infra/providers/src/lib.rs`, 'utf8');

/** The providers, in their order everywhere. */
export const PROVIDERS = [...LIST.matchAll(/(\w+)\/demo\.json/g)].map(([, name]) => name);

/** A provider's demo file, and its payments by id. */
export function demo(provider) {
  const file = JSON.parse(readFileSync(`${ROOT}functions/${provider}/demo.json`, 'utf8'));
  const payments = new Map(file.payments.map((item) => [item.pk.split('#')[2], item]));
  return { ...file, payments };
}

/** Free ports. */
const FREE = ['--port', '0', '--dynamodb-port', '0'];

/** Starts `local`, and waits until it says that it is ready. */
export async function start(flags = FREE) {
  const child = spawn(`${ROOT}target/debug/local`, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface(child.stdout)) {
    const ready = line.match(/^ready +(http:\S+) +\(DynamoDB on (\S+)\)$/);
    if (ready) {
      child.stdout.resume();
      const [, url, dynamodb] = ready;
      return { url, dynamodb, port: new URL(url).port, stop: () => stop(child) };
    }
  }
  throw new Error('target/debug/local ended before it was ready');
}

async function stop(child) {
  if (child.exitCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGINT');
  await ended;
}

/** What a pasted command prints. */
export const bash = (command) => execFileSync('bash', ['-euo', 'pipefail', '-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, no_proxy: '*' } });

/** An item of the payments table, read from DynamoDB itself. */
export async function item(stack, pk) {
  const { Item } = await dynamodb(stack, 'GetItem', { TableName: 'payments', Key: { pk: { S: pk } }, ConsistentRead: true });
  return Item;
}

/** One operation of DynamoDB's API. */
export async function dynamodb(stack, operation, input) {
  const response = await fetch(stack.dynamodb, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-amz-json-1.0',
      'X-Amz-Target': `DynamoDB_20120810.${operation}`,
      'X-Amz-Date': '20240101T000000Z',
      Authorization: 'AWS4-HMAC-SHA256 Credential=local/20240101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: JSON.stringify(input),
  });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

/** The installed Chromium, which finds no host but this machine, and that under one more name. */
export function browse(...names) {
  const rules = [...names.map((name) => `MAP ${name} 127.0.0.1`), 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1', 'EXCLUDE localhost'];
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Chromium's sandbox needs another user than root.
    chromiumSandbox: process.getuid() !== 0,
    args: ['--disable-lcd-text', `--host-resolver-rules=${rules.join(', ')}`],
  });
}
