/**
 * Which call does what a request id names, and what it answered. The row is taken before the work, so that of twins at once
 * one works and the others wait for its answer; it is answered after the work, so a process that dies in between leaves the
 * id to whoever repeats the call, and the verb itself has to bear being repeated.
 */
import { randomUUID } from "node:crypto";
import type { Caller } from "../base/caller.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { answerKey, findKey, giveKeyBack, purgeKeys, type RequestKey, renewKey, takeKey } from "./sql/idempotency-keys.ts";

export type Taken =
  /** This call does the work; `renew` at least every 2 s, then `answer` or `giveBack`. */
  | {
      readonly kind: "mine";
      readonly renew: () => Promise<void>;
      readonly answer: (response: Uint8Array) => Promise<void>;
      readonly giveBack: () => Promise<void>;
    }
  | { readonly kind: "answered"; readonly response: Uint8Array }
  /** A twin is at work. */
  | { readonly kind: "pending" }
  /** The id was used for another payload. */
  | { readonly kind: "reused" };

export interface IdempotencyRepository {
  take(caller: Caller, method: string, requestId: string, fingerprint: Buffer): Promise<Taken>;
}

/** A call that is not renewed for so long died with its process. */
const staleMs = 6_000;
/** Answers are kept at least 24 h by contract. */
const keptMs = 48 * 3_600_000;
/** A purge rides along with every so many calls; it deletes more than came in meanwhile. */
const callsPerPurge = 200;
const purgedRowsMax = 1_000;

export function createIdempotencyRepository({ pool }: Pick<Database, "pool">): IdempotencyRepository {
  let calls = 0;
  return {
    async take(caller, method, requestId, fingerprint) {
      const key: RequestKey = { tenantId: caller.tenantId, method, requestId };
      const holder = randomUUID();
      return await guarded(async () => {
        if (++calls % callsPerPurge === 0) await purgeKeys(pool, keptMs, purgedRowsMax);
        if (await takeKey(pool, key, fingerprint, holder, staleMs)) {
          return {
            kind: "mine",
            renew: () => guarded(() => renewKey(pool, key, holder)),
            answer: (response) => guarded(() => answerKey(pool, key, holder, response)),
            giveBack: () => guarded(() => giveKeyBack(pool, key, holder)),
          };
        }
        const found = await findKey(pool, key);
        if (!found) return { kind: "pending" };
        if (!found.fingerprint.equals(fingerprint)) return { kind: "reused" };
        return found.response ? { kind: "answered", response: found.response } : { kind: "pending" };
      });
    },
  };
}
