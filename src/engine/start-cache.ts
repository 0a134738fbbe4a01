/**
 * Which workflow a start means, remembered for a moment: a start then needs no read at all. A change made through this
 * replica is seen at once (`forget`), one made elsewhere when that replica's news arrive, and without news within the time an
 * entry lives.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import type { StartableWorkflow } from "./start-execution.ts";

const entryMs = 500;
const entriesMax = 10_000;

export type FindWorkflow = (caller: Caller, reference: string) => Promise<StartableWorkflow | undefined>;

interface Entry {
  readonly until: number;
  readonly workflow: StartableWorkflow;
}

export class StartCache {
  readonly #find: FindWorkflow;
  readonly #clock: Clock;
  /** By tenant, then by reference. */
  readonly #tenants = new Map<string, Map<string, Entry>>();
  #entries = 0;
  /** Rises with every change of a tenant: what was read before it is not kept. */
  readonly #generations = new Map<string, number>();

  constructor(find: FindWorkflow, clock: Clock) {
    this.#find = find;
    this.#clock = clock;
  }

  find: FindWorkflow = async (caller, reference) => {
    const { tenantId } = caller;
    const known = this.#tenants.get(tenantId)?.get(reference);
    if (known && known.until > this.#clock.monotonic()) return known.workflow;
    const generation = this.#generations.get(tenantId);
    const readAt = this.#clock.monotonic();
    const workflow = await this.#find(caller, reference);
    if (workflow && generation === this.#generations.get(tenantId)) this.#keep(tenantId, reference, { until: readAt + entryMs, workflow });
    return workflow;
  };

  /** A workflow of the tenant changed: nothing remembered of it is used any more. */
  forget(tenantId: string): void {
    this.#generations.set(tenantId, (this.#generations.get(tenantId) ?? 0) + 1);
    this.#entries -= this.#tenants.get(tenantId)?.size ?? 0;
    this.#tenants.delete(tenantId);
  }

  #keep(tenantId: string, reference: string, entry: Entry): void {
    if (this.#entries >= entriesMax) {
      this.#tenants.clear();
      this.#entries = 0;
    }
    const entries = this.#tenants.get(tenantId) ?? new Map<string, Entry>();
    this.#tenants.set(tenantId, entries);
    if (!entries.has(reference)) this.#entries++;
    entries.set(reference, entry);
  }
}
