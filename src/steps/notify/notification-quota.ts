/**
 * How many notifications go out in an hour: for each tenant, and for each of its recipients, so that a loop cannot flood somebody's
 * mailbox. The counts are kept for all replicas; each attempt counts.
 */
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { fail, ok } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import type { NotificationQuota } from "../step-handler.ts";

const recipientNotificationsMax = 60;
const tenantNotificationsMax = 2_000;
const hourMs = 3_600_000;
const goneMs = 24 * hourMs;

/** Where the counts are kept. Throws when that is in trouble. */
export interface CountedNotifications {
  /** Takes one for each recipient, or none; then it says which bound was met, a recipient by its index. */
  take(
    tenantId: string,
    recipients: readonly string[],
    bounds: { readonly perTenant: number; readonly perRecipient: number; readonly windowMs: number },
  ): Promise<
    { readonly bound: "gone" } | { readonly bound: "tenant"; readonly sent: number } | { readonly bound: "recipient"; readonly recipient: number } | undefined
  >;
  /** From now on `take` refuses this recipient, until the time is over. */
  gone(tenantId: string, recipient: string, forMs: number): Promise<void>;
}

export function createNotificationQuota(
  counts: CountedNotifications,
  log: Log,
  { perRecipient = recipientNotificationsMax, perTenant = tenantNotificationsMax } = {},
): NotificationQuota {
  return {
    async take(tenantId, recipients) {
      try {
        const met = await counts.take(tenantId, recipients, { perTenant, perRecipient, windowMs: hourMs });
        if (met === undefined) return ok(undefined);
        if (met.bound === "gone")
          return fail(failure("HTTP.410", "the receiver answered 410 within the last day; nothing is sent there any more", { status: 410 }));
        const message =
          met.bound === "tenant"
            ? `this tenant has sent ${met.sent} notifications in this hour; the limit is ${perTenant}`
            : `recipient ${met.recipient + 1} got ${perRecipient} notifications in this hour, which is the limit`;
        return fail(failure("LIMIT.NOTIFICATIONS", message));
      } catch (error) {
        log.warn({ error: messageOf(error) }, "notifications cannot be counted at the moment; the steps try again");
        return fail(failure("NETWORK", "notifications cannot be counted at the moment; nothing was sent"));
      }
    },

    async gone(tenantId, recipient) {
      await counts.gone(tenantId, recipient, goneMs).catch((error: unknown) => {
        log.warn({ error: messageOf(error) }, "a receiver that is gone could not be noted; the next message asks again");
      });
    },
  };
}
