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

/** A question that is being asked; many starts at once share it. */
interface Reading {
  /** An answer is as old as its question. */
  readonly until: number;
  readonly answer: Promise<StartableWorkflow | undefined>;
}

export class StartCache {
  readonly #find: FindWorkflow;
  readonly #clock: Clock;
  /** By tenant, then by reference. */
  readonly #tenants = new Map<string, Map<string, Entry>>();
  #entries = 0;
  /** By tenant, then by reference. */
  readonly #readings = new Map<string, Map<string, Reading>>();
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
    const reading = this.#readings.get(tenantId)?.get(reference);
    if (reading && reading.until > this.#clock.monotonic()) return await reading.answer;
    return await this.#ask(caller, reference);
  };

  /** A workflow of the tenant changed: nothing remembered of it is used any more. */
  forget(tenantId: string): void {
    this.#generations.set(tenantId, (this.#generations.get(tenantId) ?? 0) + 1);
    this.#entries -= this.#tenants.get(tenantId)?.size ?? 0;
    this.#tenants.delete(tenantId);
    this.#readings.delete(tenantId);
  }

  async #ask(caller: Caller, reference: string): Promise<StartableWorkflow | undefined> {
    const { tenantId } = caller;
    const generation = this.#generations.get(tenantId);
    const reading: Reading = { until: this.#clock.monotonic() + entryMs, answer: this.#find(caller, reference) };
    const readings = this.#readings.get(tenantId) ?? new Map<string, Reading>();
    this.#readings.set(tenantId, readings.set(reference, reading));
    try {
      const workflow = await reading.answer;
      if (workflow && generation === this.#generations.get(tenantId)) this.#keep(tenantId, reference, { until: reading.until, workflow });
      return workflow;
    } finally {
      if (readings.get(reference) === reading) readings.delete(reference);
      if (readings.size === 0 && this.#readings.get(tenantId) === readings) this.#readings.delete(tenantId);
    }
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
