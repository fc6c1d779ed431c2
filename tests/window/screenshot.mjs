// The README's pictures, on the ports that it names: infra/local/window.png, a payment that has
// just been canceled, and
// infra/local/window-fault.png, one whose cancel was written and whose responses were lost, in
// dark.

import { ROOT, browse, start } from './stack.mjs';

const stack = await start([]);
const browser = await browse();

async function picture(file, colorScheme, payment, button, verdict) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 860 }, colorScheme, reducedMotion: 'reduce' });
  await page.goto(`${stack.url}/#${payment}`);
  await page.click(button);
  await page.waitForFunction((verdict) => document.getElementById('verdict').textContent.includes(verdict), verdict);
  await page.mouse.move(0, 0);
  await page.screenshot({ path: `${ROOT}infra/local/${file}` });
  await page.close();
}

// Other clients' requests stand in the list, too.
const post = (path, headers, body) => fetch(stack.url + path, { method: 'POST', headers, body });
await post('/v1/payments/pay_hedge_succeeded/cancel', { authorization: 'Bearer sk_test_demo' });
await post('/v1/gateway/payment/pay_wcp_requires_action/cancel', { 'api-key': 'wcp_demo' });
await post('/payments/VTEX_MANUAL/cancellations', { 'x-vtex-api-appkey': 'demo-key', 'x-vtex-api-apptoken': 'demo-token' }, '{"paymentId":"VTEX_MANUAL","requestId":"R1"}');
await picture('window.png', 'light', 'hyperswitch/pay_hs_requires_capture', '#cancel', 'Canceled');
await picture('window-fault.png', 'dark', 'hedgepayments/pay_hedge_pending', '#lose-every', 'canceled, once');
await browser.close();
await stack.stop();
