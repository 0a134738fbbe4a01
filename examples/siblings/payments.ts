/**
 * The payment API: charges and refunds.
 *
 * | POST /charges with `payment_token` | answer |
 * |---|---|
 * | `tok_declined…` | 402 CARD_DECLINED, final |
 * | `tok_busy…` | 503 to the first attempt of a charge, then 201 |
 * | any other | 201 |
 *
 * POST /charges/{id}/refund gives the money back: 200, or 404 when there is no such charge.
 */
import { serve } from "./serve.ts";

interface Charge {
  readonly amountCents: number;
  isRefunded: boolean;
}
const charges = new Map<string, Charge>();
/** Idempotency keys that were sent away once. */
const sentAway = new Set<string>();

await serve({
  act({ method, path: [collection, id, verb], body, key }) {
    if (method !== "POST" || collection !== "charges") return undefined;
    if (id === undefined) return () => charge(body, key);
    return verb === "refund" ? () => refund(id) : undefined;
  },
});

function charge(body: Record<string, unknown>, key: string) {
  const { charge_id: id, amount_cents: amountCents, payment_token: token } = body;
  if (typeof id !== "string" || typeof amountCents !== "number" || typeof token !== "string") {
    return { status: 400, body: { error: "VALIDATION_FAILED", message: "give charge_id, amount_cents and payment_token" } };
  }
  if (token.startsWith("tok_busy") && sentAway.size < sentAway.add(key).size) return { status: 503, body: { error: "BUSY", message: "try again" } };
  if (token.startsWith("tok_declined")) return { status: 402, body: { error: "CARD_DECLINED", message: "the card was declined" } };
  charges.set(id, { amountCents, isRefunded: false });
  return { status: 201, body: { charge_id: id, amount_cents: amountCents, state: "captured" } };
}

function refund(id: string) {
  const charged = charges.get(id);
  if (!charged) return { status: 404, body: { error: "NOT_FOUND" } };
  charged.isRefunded = true;
  return { status: 200, body: { charge_id: id, amount_cents: charged.amountCents, state: "refunded" } };
}
