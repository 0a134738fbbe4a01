/**
 * Which workflow a start means, remembered for a moment: a start then needs no read at all. A change made through this
 * replica is seen at once (`forget`), one made elsewhere within the time an entry lives.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import type { StartableWorkflow } from "./start-execution.ts";

const entryMs = 500;
const entriesMax = 10_000;

export type FindWorkflow = (caller: Caller, reference: string) => Promise<StartableWorkflow | undefined>;

export class StartCache {
  readonly #find: FindWorkflow;
  readonly #clock: Clock;
  readonly #entries = new Map<string, { readonly until: number; readonly workflow: StartableWorkflow }>();
  /** Rises with every change: what was read before it is not kept. */
  #generation = 0;

  constructor(find: FindWorkflow, clock: Clock) {
    this.#find = find;
    this.#clock = clock;
  }

  find: FindWorkflow = async (caller, reference) => {
    const key = `${caller.tenantId} ${reference}`;
    const known = this.#entries.get(key);
    if (known && known.until > this.#clock.monotonic()) return known.workflow;
    const generation = this.#generation;
    const workflow = await this.#find(caller, reference);
    if (this.#entries.size >= entriesMax) this.#entries.clear();
    if (workflow && generation === this.#generation) this.#entries.set(key, { until: this.#clock.monotonic() + entryMs, workflow });
    else this.#entries.delete(key);
    return workflow;
  };

  /** A workflow of this replica changed: nothing remembered is used any more. */
  forget(): void {
    this.#generation++;
    this.#entries.clear();
  }
}
