/**
 * A micro-batcher: items that arrive while a batch is being written form the next one, so that many callers share one
 * commit without anybody waiting for a timer.
 *
 * - At most `flightsMax` batches are under way. An item whose key is under way waits for that batch, so items of one key
 *   are written in the order they came, each in a batch of its own.
 * - A batch is cut at `rowsMax` rows or `bytesMax` bytes, whichever comes first; a single larger item goes alone.
 * - `flush` gets the items and answers with one result for each, or throws: then every item of the batch fails with it.
 * - `stop` writes what is there and then refuses.
 */
import { AppError } from "./errors.ts";

export interface BatchItem {
  /** Items with equal keys keep their order. */
  readonly key: string;
  readonly rows: number;
  readonly bytes: number;
}

export interface BatcherOptions<Item extends BatchItem, Outcome> {
  readonly flush: (items: readonly Item[]) => Promise<readonly Outcome[]>;
  readonly flightsMax: number;
  readonly rowsMax: number;
  readonly bytesMax: number;
}

interface Waiting<Item, Outcome> {
  readonly item: Item;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

export class Batcher<Item extends BatchItem, Outcome> {
  readonly #options: BatcherOptions<Item, Outcome>;
  #waiting: Waiting<Item, Outcome>[] = [];
  #waitingRows = 0;
  readonly #keysUnderWay = new Set<string>();
  readonly #flights = new Set<Promise<void>>();
  #scheduled = false;
  /** The last batch held one item. */
  #isAlone = true;
  #stopped = false;

  constructor(options: BatcherOptions<Item, Outcome>) {
    this.#options = options;
  }

  /** Rows that wait for a flight. */
  get backlogRows(): number {
    return this.#waitingRows;
  }

  /** Resolves with the item's outcome once its batch is written. */
  add(item: Item): Promise<Outcome> {
    if (this.#stopped) return Promise.reject(new AppError("SERVER_DRAINING", "the server is stopping; try again on another replica"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#waitingRows += item.rows;
      this.#schedule();
    });
  }

  /** Writes everything that was added, then refuses new items. May be called twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    while (this.#waiting.length > 0 || this.#flights.size > 0) {
      this.#launch();
      await Promise.allSettled([...this.#flights]);
    }
  }

  /**
   * One turn of the event loop is enough for every caller that is ready now to join the batch. Who was alone the last time
   * is not made to wait for it: that turn is a tenth of a lone commit.
   */
  #schedule(): void {
    if (this.#scheduled || this.#flights.size >= this.#options.flightsMax) return;
    this.#scheduled = true;
    const launch = (): void => {
      this.#scheduled = false;
      this.#launch();
    };
    if (this.#isAlone) process.nextTick(launch);
    else setImmediate(launch);
  }

  #launch(): void {
    while (this.#flights.size < this.#options.flightsMax) {
      const batch = this.#cut();
      if (batch.length === 0) return;
      this.#isAlone = batch.length === 1;
      const flight = this.#fly(batch).finally(() => {
        this.#flights.delete(flight);
        for (const { item } of batch) this.#keysUnderWay.delete(item.key);
        if (this.#waiting.length > 0) this.#schedule();
      });
      this.#flights.add(flight);
    }
  }

  /** Takes the longest prefix that fits, passing over items whose key is under way. */
  #cut(): Waiting<Item, Outcome>[] {
    const batch: Waiting<Item, Outcome>[] = [];
    const left: Waiting<Item, Outcome>[] = [];
    const passedOver = new Set<string>();
    let rows = 0;
    let bytes = 0;
    let full = false;
    for (const waiting of this.#waiting) {
      const { item } = waiting;
      const fits = batch.length === 0 || (rows + item.rows <= this.#options.rowsMax && bytes + item.bytes <= this.#options.bytesMax);
      if (!fits) full = true;
      if (full || this.#keysUnderWay.has(item.key) || passedOver.has(item.key)) {
        passedOver.add(item.key);
        left.push(waiting);
        continue;
      }
      batch.push(waiting);
      this.#keysUnderWay.add(item.key); // from here on the next item of this key is passed over: one per batch
      rows += item.rows;
      bytes += item.bytes;
    }
    this.#waiting = left;
    this.#waitingRows -= rows;
    return batch;
  }

  async #fly(batch: readonly Waiting<Item, Outcome>[]): Promise<void> {
    try {
      const outcomes = await this.#options.flush(batch.map((waiting) => waiting.item));
      batch.forEach((waiting, index) => {
        waiting.resolve(outcomes[index] as Outcome);
      });
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    }
  }
}
