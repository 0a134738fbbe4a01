/**
 * How many notifications a tenant and each of its recipients got within an hour, over all replicas. Recipients are kept as digests: an
 * address is nobody's business here, and a chat's is a credential.
 */
import { createHash } from "node:crypto";
import type { Pool } from "pg";
import { giveBackNotifications, markGone, takeNotifications } from "./sql/notification-counts.ts";

export interface NotificationBounds {
  readonly perTenant: number;
  readonly perRecipient: number;
  /** From the first message on. */
  readonly windowMs: number;
}

/** What was met, or undefined when everything was taken; `recipient` is an index of what was asked for. */
export type MetBound =
  | { readonly bound: "gone" }
  | { readonly bound: "tenant"; readonly sent: number }
  | { readonly bound: "recipient"; readonly recipient: number }
  | undefined;

export interface NotificationCounts {
  /** Takes one for each recipient, or none. */
  take(tenantId: string, recipients: readonly string[], bounds: NotificationBounds): Promise<MetBound>;
  /** From now on `take` refuses this recipient, until the time is over. */
  gone(tenantId: string, recipient: string, forMs: number): Promise<void>;
}

const tenantKey = Buffer.alloc(0);

const keyOf = (recipient: string): Buffer => createHash("sha256").update(recipient.toLowerCase()).digest();
/** An address may differ in the case of its path: only the very same one is gone. */
const goneKeyOf = (recipient: string): Buffer => createHash("sha256").update(`gone ${recipient}`).digest();

export function createNotificationCounts(pool: Pool): NotificationCounts {
  return {
    gone: (tenantId, recipient, forMs) => markGone(pool, tenantId, goneKeyOf(recipient), forMs),

    async take(tenantId, recipients, { perTenant, perRecipient, windowMs }) {
      const keys = recipients.map(keyOf);
      const needs = new Map<string, readonly [Buffer, number]>([["", [tenantKey, recipients.length]]]);
      for (const key of keys) needs.set(key.toString("hex"), [key, (needs.get(key.toString("hex"))?.[1] ?? 0) + 1]);
      const taken = await takeNotifications(pool, tenantId, [...needs.values()], recipients.map(goneKeyOf), windowMs);
      if (taken.length === 0) return { bound: "gone" };
      const counts = new Map(taken.map((row) => [row.key.toString("hex"), row]));
      const sent = counts.get("")?.count ?? 0;
      const full = keys.findIndex((key) => (counts.get(key.toString("hex"))?.count ?? 0) > perRecipient);
      if (sent <= perTenant && full < 0) return undefined;
      await giveBackNotifications(
        pool,
        tenantId,
        taken.map(({ key, endTime }) => [key, needs.get(key.toString("hex"))?.[1] ?? 0, endTime]),
      );
      return sent > perTenant ? { bound: "tenant", sent: sent - recipients.length } : { bound: "recipient", recipient: full };
    },
  };
}
