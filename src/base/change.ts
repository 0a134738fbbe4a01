/**
 * One change that a caller asks for. What it writes, the answer that is kept for its repeats and its line in the audit log
 * become durable in one commit. It travels with the `Caller`, so whoever writes for the caller can join in.
 */
import type { Json } from "./json.ts";

export interface Change {
  /**
   * Tells repeats of this call from everything else the tenant ever asks; undefined where its caller chose no request id. What
   * becomes durable elsewhere (the ledger of an execution, a stored event) carries it, so a repeat is recognised there.
   */
  readonly key: string | undefined;
  /** Name of the rpc, for the audit log. */
  readonly method: string;
  readonly unit: Unit;
  /** It turned out that an earlier call with the same key had done it already. */
  noteReplay(): void;
  /**
   * What a change that goes on over many commits has set out to do. Where the call can be repeated it is durable before this
   * resolves, and a repeat gets the same again.
   */
  plan<Plan extends Json>(make: () => Promise<Plan>): Promise<Plan>;
}

/** One transaction that is opened by the first who writes in it and committed by whoever made it. */
export interface Unit {
  /** Runs behind the commit, before the caller is answered; never when there is none. */
  afterCommit(work: () => unknown): void;
}

/** Runs `work` behind the commit of the change, or at once where the caller has none. */
export async function afterCommit({ change }: { readonly change?: Change }, work: () => unknown): Promise<void> {
  if (change) change.unit.afterCommit(work);
  else await work();
}
