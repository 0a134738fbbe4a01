/**
 * Which call does what a request id names, and what it answered. The row is taken before the work, so that of twins at once
 * one works and the others wait for its answer. Work that is one transaction has its answer in it: a process that dies
 * leaves both or neither. Other work goes on over several commits; each of them carries the change's key and is recognised by
 * it, so whoever repeats the call goes on where the first one died.
 */
import { randomUUID } from "node:crypto";
import type { PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { answerKey, findKey, giveKeyBack, letKeyGo, planKey, purgeKeys, type RequestKey, renewKey, takeKey } from "./sql/idempotency-keys.ts";

export interface TakenKey {
  /** To be called at least every 2 s while the work goes on. */
  renew(): Promise<void>;
  /** In the transaction of the work. @throws AppError STORAGE_UNAVAILABLE when somebody else has the id by now: nothing may be committed then */
  answerIn(client: PoolClient, response: Uint8Array): Promise<void>;
  /** Behind work that cannot be taken back. */
  answer(response: Uint8Array): Promise<void>;
  /** What the work set out to do: made once, then the same for everybody who goes on with it. */
  plan<Plan extends Json>(make: () => Promise<Plan>): Promise<Plan>;
  /** Nothing was done: the id is free again, also for another payload. */
  giveBack(): Promise<void>;
  /** Some of it may be done: whoever repeats the call goes on at once. */
  letGo(): Promise<void>;
}

export type Taken =
  /** This call does the work. */
  | { readonly kind: "mine"; readonly key: TakenKey }
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

  const keyOf = (key: RequestKey, holder: string): TakenKey => ({
    renew: () => guarded(() => renewKey(pool, key, holder)),
    answerIn: async (client, response) => {
      if (!(await guarded(() => answerKey(client, key, holder, response)))) throw takenOver();
    },
    answer: async (response) => void (await guarded(() => answerKey(pool, key, holder, response))),
    plan: (make) =>
      guarded(async () => {
        const stored = (await findKey(pool, key))?.plan;
        if (stored !== null && stored !== undefined) return stored as Awaited<ReturnType<typeof make>>;
        const plan = await make();
        if (!(await planKey(pool, key, holder, JSON.stringify(plan)))) throw takenOver();
        return plan;
      }),
    giveBack: () => guarded(() => giveKeyBack(pool, key, holder)),
    letGo: () => guarded(() => letKeyGo(pool, key, holder)),
  });

  return {
    async take(caller, method, requestId, fingerprint) {
      const key: RequestKey = { tenantId: caller.tenantId, method, requestId };
      const holder = randomUUID();
      return await guarded(async () => {
        if (++calls % callsPerPurge === 0) await purgeKeys(pool, keptMs, purgedRowsMax);
        if (await takeKey(pool, key, fingerprint, holder, staleMs)) return { kind: "mine", key: keyOf(key, holder) };
        const found = await findKey(pool, key);
        if (!found) return { kind: "pending" };
        if (!found.fingerprint.equals(fingerprint)) return { kind: "reused" };
        return found.response ? { kind: "answered", response: found.response } : { kind: "pending" };
      });
    },
  };
}

/** This process stood still for seconds, and a repeat of the call took it for dead. */
function takenOver(): AppError {
  return new AppError("STORAGE_UNAVAILABLE", "a repeat of this call has taken it over; repeat it to get its answer", { retryAfterMs: 500 });
}
