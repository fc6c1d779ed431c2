// The README's picture, infra/local/window.png: a payment that has just been canceled. On the ports that the README names.

import { ROOT, browse, start } from './stack.mjs';

const stack = await start([]);
const browser = await browse();
const page = await browser.newPage({ viewport: { width: 1440, height: 780 }, reducedMotion: 'reduce' });
await page.goto(`${stack.url}/#hyperswitch/pay_hs_requires_capture`);
await page.click('#cancel');
await page.waitForFunction(() => document.getElementById('outcome').textContent.startsWith('Answered'));
await page.screenshot({ path: `${ROOT}infra/local/window.png` });
await browser.close();
await stack.stop();
