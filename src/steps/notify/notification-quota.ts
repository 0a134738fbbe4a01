/**
 * How many notifications go out in an hour: for each tenant, and for each of its recipients, so that a loop cannot flood somebody's
 * mailbox. Counted by this process in windows of an hour; several replicas each hold their own count.
 */
import type { Clock } from "../../base/clock.ts";
import { fail, ok } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import type { NotificationQuota } from "../step-handler.ts";

export const recipientNotificationsMax = 60;
export const tenantNotificationsMax = 2_000;
const windowMs = 3_600_000;
/** Counters kept at once; the oldest window goes first. */
const countersMax = 100_000;

export function createNotificationQuota(
  clock: Pick<Clock, "monotonic">,
  { perRecipient = recipientNotificationsMax, perTenant = tenantNotificationsMax } = {},
): NotificationQuota {
  const counters = new Map<string, { count: number; readonly endsAt: number }>();

  const counterOf = (key: string, now: number): { count: number; readonly endsAt: number } => {
    const known = counters.get(key);
    if (known && known.endsAt > now) return known;
    counters.delete(key);
    const fresh = { count: 0, endsAt: now + windowMs };
    counters.set(key, fresh);
    if (counters.size > countersMax) counters.delete(counters.keys().next().value as string);
    return fresh;
  };

  return {
    take(tenantId, recipients) {
      const now = clock.monotonic();
      const tenant = counterOf(JSON.stringify([tenantId]), now);
      if (tenant.count + recipients.length > perTenant) {
        return fail(failure("LIMIT.NOTIFICATIONS", `this tenant has sent ${tenant.count} notifications in this hour; the limit is ${perTenant}`));
      }
      const each = recipients.map((recipient) => counterOf(JSON.stringify([tenantId, recipient.toLowerCase()]), now));
      const full = each.findIndex((counter) => counter.count >= perRecipient);
      if (full >= 0) return fail(failure("LIMIT.NOTIFICATIONS", `recipient ${full + 1} got ${perRecipient} notifications in this hour, which is the limit`));
      tenant.count += recipients.length;
      for (const counter of each) counter.count++;
      return ok(undefined);
    },
  };
}
