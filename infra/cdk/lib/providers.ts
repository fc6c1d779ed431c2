/** The five, and where each is called. The names in braces are the ones that its ROUTE reads. */
export const ROUTES = {
  hyperswitch: '/payments/{payment_id}/cancel',
  hedgepayments: '/v1/payments/{id}/cancel',
  vtex: '/payments/{paymentId}/cancellations',
  walletconnect: '/v1/gateway/payment/{id}/cancel',
  one2pays: '/api/v1/payments/{payment_id}/cancel',
} as const;

/** Its folder under `functions`, its binary, and the prefix of its keys in both tables. */
export type Provider = keyof typeof ROUTES;
