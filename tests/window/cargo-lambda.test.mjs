// The README's section on `cargo lambda`, its commands as they stand there.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';

import { PROVIDERS, ROOT, bash } from './stack.mjs';

const readme = readFileSync(`${ROOT}infra/local/README.md`, 'utf8');
const [, section] = readme.match(/\n## Events for `cargo lambda`\n([^]*?)\n## /);
// What `cargo run` would build once more, with other features, is there already.
const blocks = [...section.matchAll(/```sh cargo-lambda\n([^]*?)```/g)].map(([, block]) => block.replaceAll(/cargo run (-q )?-p local --/g, 'target/debug/local'));
const started = [];

after(() => Promise.all(started.map(async (child) => {
  const ended = once(child, 'exit');
  process.kill(child.pid, 'SIGINT');
  await ended;
})));

/** Starts a block's last command and waits until it has said that. */
async function start(block, expected) {
  const child = spawn('bash', ['-euc', `cd '${ROOT}'; ${block.trim().replace(/([^\n]*)$/, 'exec $1')}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  started.push(child);
  let said = '';
  await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        said += data;
        if (expected.test(said)) resolve();
      });
    }
    child.on('exit', () => reject(new Error(said)));
  });
}

const run = (block) => bash(`cd '${ROOT}'; ${block}`);

test('a case is invoked and the five URLs are called as the README says', { timeout: 900_000 }, async () => {
  const [stack, watch, invoke, commands] = blocks;
  await start(stack, /^ready /m);
  await start(watch, /invoke server|listening|9000/i);
  const output = run(invoke);
  const [command, ...response] = output.trim().split('\n');
  assert.equal(command, invoke.trim().split('\n').at(-1));
  const { statusCode, body } = JSON.parse(response.join('\n'));
  assert.equal(statusCode, 200, body);
  assert.equal(JSON.parse(body).paymentId, 'VTEX_APPROVED');
  const printed = run(commands).trim().split('\n\n');
  assert.deepEqual(printed.map((block) => block.match(/^# (\w+)/)[1]), PROVIDERS);
  for (const block of printed) assert.match(run(block), /\n200\n$/, block);
});
